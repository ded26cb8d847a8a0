"""Labels that the user points to: --labels FILE, --class-depth and --split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_helpers import UNHURRIED, error_line, png, tool, write_folder, write_zip
from data_layouts import write_tar
from hypothesis import given
from hypothesis import strategies as st

from dnnlib import UserError
from training.data.label_lists import read_table
from training.data.sources import SourceOptions, open_source

FILES = {"x/cat 1.png": png(0), "x/dog.1.png": png(1), "y/cow.png": png(2)}
TABLES = {
    "paths.csv": "x/cat 1.png,cat\nx/dog.1.png,dog\ny/cow.png,cow\n",
    "names.csv": "cat 1.png,cat\ncow.png,cow\ndog.1.png,dog\n",
    "stems.csv": "cow,cow\ncat 1,cat\ndog.1,dog",
    "windows.csv": "file,label\r\nC:\\data\\x\\cat 1.png,cat\r\nC:\\data\\x\\dog.1.png,dog\r\n"
    "C:\\data\\y\\cow.png,cow\r\n",
    "header.csv": "id,breed\ncat 1,cat\ndog.1,dog\ncow,cow\n",
    "columns.csv": "split,Label,Image\na,cat,cat 1.png\na,dog,dog.1.png\nb,cow,cow.png\n",
    "excel.csv": "\ufefffile;class\n\ncat 1.png;cat\ndog.1.png;dog\n cow.png; cow \n",
    "quoted.csv": '"file_name","label"\n"cat 1.png","cat"\n"dog.1.png","dog"\n"cow.png","cow"\n',
    "tabs.tsv": "path\tclass\nx/cat 1.png\tcat\nx/dog.1.png\tdog\ny/cow.png\tcow\n",
    "objects.jsonl": '{"file": "cat 1.png", "label": "cat"}\n\n{"label": "dog", "file": "dog.1"}\n'
    '{"file": "cow.png", "label": "cow"}',
    "pairs.jsonl": '["cat 1.png", "cat"]\n["dog.1.png", "dog"]\n["cow.png", "cow"]\n',
    "list.json": '[["any/x/cat 1.png", "cat"], ["any/x/dog.1.png", "dog"], ["y/cow.png", "cow"]]',
    "objects.json": '[{"image": "cat 1.png", "class": "cat"}, {"image": "dog.1", "class": "dog"},'
    '{"image": "cow.png", "class": "cow"}]',
    "dataset.json": '{"labels": [["cat 1.png", 0], ["dog.1.png", 2], ["cow.png", 1]],'
    '"class_names": ["cat", "cow", "dog"]}',
}


def labels_of(data: Path, **options: str) -> tuple[list[object], tuple[str, ...]]:
    """Labels and class names of a source."""
    source = open_source(str(data), SourceOptions.model_validate(options))
    return [] if source.labels is None else source.labels.tolist(), source.class_names


def write_table(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("write", [write_folder, write_zip, write_tar])
def test_tables(tmp_path: Path, name: str, write: type) -> None:
    table = write_table(tmp_path / name, TABLES[name])
    data = write(tmp_path / "data.tar" if write is write_tar else tmp_path / "data", FILES)
    assert labels_of(data, labels=table) == ([0, 2, 1], ("cat", "cow", "dog"))


def test_numbers_vectors_and_chosen_columns(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", FILES)
    table = write_table(tmp_path / "a.csv", "file,label,kind\ncat 1,0,b\ndog.1,2,a\ncow,0,a\n")
    assert labels_of(data, labels=table) == ([0, 2, 0], ("0", "1", "2"))
    assert labels_of(data, labels=table, label_column="kind") == ([1, 0, 0], ("a", "b"))
    rows = [["cat 1", [0.5, 1]], ["dog.1", [1, 2]], ["cow", [0, 0]]]
    table = write_table(tmp_path / "a.json", json.dumps(rows))
    assert labels_of(data, labels=table) == ([[0.5, 1.0], [1.0, 2.0], [0.0, 0.0]], ())


@UNHURRIED
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=3, max_size=3))
def test_any_class_name_survives_a_table(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    names = [f"c{name}" for name in names]  # neither empty nor a number
    images = ["a.png", "b.png", "c.png"]
    table = tmp_path_factory.mktemp("labels") / "a.json"
    table.write_text(json.dumps(list(zip(images, names, strict=True))))
    found = read_table(table, "", images, images.index)
    assert [found.class_names[int(i)] for i in found.values] == [name.strip() for name in names]


ROWS = "cat 1,0\ndog.1,1\ncow,2\n"
BAD_TABLES = {
    "unknown file": (ROWS + "pig,1\n", r"labels the unknown file 'pig'"),
    "unknown file first": ("pig.png,1\n" + ROWS, r"labels the unknown file 'pig\.png'"),
    "missing": ("cat 1,0\ndog.1,1\n", r"no label for 1 of 3.*y/cow\.png"),
    "twice": (ROWS + "y/cow.png,2\n", r"labels 'y/cow\.png' twice"),
    "negative": (ROWS.replace("2", "-2"), r"y/cow\.png must be a class index.*found -2"),
    "float": (ROWS.replace("2", "2.5"), "found 2.5"),
    "huge": (ROWS.replace("2", "9" * 30), "must be a class index"),
    "empty label": ("cat 1,a\ndog.1,b\ncow,\n", r"the label of y/cow\.png is empty"),
    "short row": ("cat 1,0\ndog.1\ncow,2\n", "row 2 has 1 columns, the first has 2"),
    "three columns": ("cat 1,0,1\ndog.1,1,1\n", "3 columns and no header"),
    "two unknown headers": ("file,a,b\ncat 1,0,1\n", "the labels; name it with --label-column"),
    "no file header": ("a,b,label\ncat 1,0,1\n", "the files; call it file"),
    "empty": ("", "holds no label"),
    "only a header": ("file,label\n", "holds no label"),
    "not text": ("cat 1,\udcff\n", "no readable CSV file in UTF-8"),
    "open quote": ('cat 1,"a\n', "no readable CSV"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    text, message = BAD_TABLES[case]
    data = write_folder(tmp_path / "data", FILES)
    table = tmp_path / "a.csv"
    table.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=message) as caught:
        labels_of(data, labels=str(table))
    assert str(table) in str(caught.value)
    assert tool("--source", data, "--dest", tmp_path / "dest", "--labels", table) == 2
    assert str(table) in error_line(capsys)


def test_other_bad_label_files(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", FILES)
    cases = {
        "a.xls": ("", r"must end in \.csv, \.tsv, \.jsonl or \.json"),
        "a.json": ('{"cat.png": 1}', r"must be a list of \[file name, label\]"),
        "b.json": ("[1]", "entry 1 must be"),
        "a.jsonl": ('["cat 1", 0]\n{"file"', "line 2: is not valid JSON"),
        "c.json": ('[["cow", "a"], ["cat 1", 1], ["dog.1", 2]]', "found 'a'"),
        "d.json": (
            '[["cow", [1, 2]], ["cat 1", [1]], ["dog.1", [2, 3]]]',
            "list of 1 numbers like",
        ),
        "e.json": (
            '{"labels": [["cow", "a"], ["cat 1", "b"], ["dog.1", "a"]], "class_names": ["a"]}',
            "'b', which is not among the class_names",
        ),
    }
    for name, (text, message) in cases.items():
        with pytest.raises(UserError, match=message):
            labels_of(data, labels=write_table(tmp_path / name, text))
    with pytest.raises(UserError, match=r"--labels .*none\.csv: cannot be read"):
        labels_of(data, labels=str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match="two ways"):
        labels_of(data, labels="a.csv", class_depth="1")


def test_names_that_two_files_have_need_a_path(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", {"x/1.png": png(0), "y/1.png": png(1)})
    table = write_table(tmp_path / "a.csv", "1.png,0\n")
    with pytest.raises(UserError, match=r"'1\.png' may be x/1\.png or y/1\.png; give its path"):
        labels_of(data, labels=table)
    table = write_table(tmp_path / "a.csv", "y/1.png,0\nx/1.png,1\n")
    assert labels_of(data, labels=table)[0] == [1, 0]


NESTED = {
    f"top/{name}.png": png(i) for i, name in enumerate(["dog/big/1", "dog/tan/2", "cat/tan/3"])
}


@pytest.mark.parametrize(
    ("depth", "names"),
    [
        ("", ("cat", "dog", "dog")),
        ("1", ("cat", "dog", "dog")),
        ("2", ("tan", "big", "tan")),
        ("1-2", ("cat/tan", "dog/big", "dog/tan")),
        ("0", None),
    ],
)
def test_class_depth(tmp_path: Path, depth: str, names: tuple[str, ...] | None) -> None:
    values, class_names = labels_of(write_zip(tmp_path / "a.zip", NESTED), class_depth=depth)
    assert class_names == tuple(sorted(set(names or ())))
    assert values == [class_names.index(name) for name in names or ()]


def test_class_depth_goes_before_a_dataset_json(tmp_path: Path) -> None:
    files = NESTED | {"top/dataset.json": b'{"labels": null}'}
    assert labels_of(write_folder(tmp_path / "a", files)) == ([], ())
    assert labels_of(tmp_path / "a", class_depth="1")[1] == ("cat", "dog")


def test_class_depth_that_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_zip(tmp_path / "a.zip", NESTED)
    with pytest.raises(UserError, match=r"top/cat/tan/3\.png lies 2 folders deep.*less than 3"):
        labels_of(data, class_depth="3")
    for wrong in ("x", "-1", "0-1", "2-1"):
        assert tool("--source", data, "--dest", tmp_path / "b.zip", f"--class-depth={wrong}") == 2
        assert "class-depth" in error_line(capsys).replace("_", "-")


def test_splits_of_folders(tmp_path: Path) -> None:
    files = {"train/cat/1.png": png(0), "train/dog/2.png": png(1), "test/cat/3.png": png(2)}
    data = write_zip(tmp_path / "a.zip", files)
    with pytest.raises(UserError, match=r"holds the splits test, train.*--split train"):
        labels_of(data)
    assert labels_of(data, split="train") == ([0, 1], ("cat", "dog"))
    source = open_source(str(data), SourceOptions(split="test"))
    assert source.names == ("cat/3.png",) and source.fetch(0) == png(2)
    assert source.where(0) == f"{data}/test/cat/3.png"
    assert labels_of(data, class_depth="2") == ([0, 0, 1], ("cat", "dog"))
    with pytest.raises(UserError, match=r"--split val: .* no such folder"):
        labels_of(data, split="val")
