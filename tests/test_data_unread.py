"""Files that are no readable kind of image, and names that are written in two ways."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data_helpers import converted, error_line, png, tool, write_folder, write_zip
from data_layouts import write_tar
from PIL import Image

from dnnlib import UserError
from training.config import DataFacts
from training.data.archive import ImageArchive
from training.snapshots import class_index

COMPOSED, APART = "Süße Früchte", "Su\u0308ße Fru\u0308chte"
UNREAD = {"a/1.heic": b"", "a/2.CR2": b"", "a/3.Heic": b""}
READ = {f"b/{index}.tiff": png(index, 8, 8) for index in range(3)}
BESIDE = {"Thumbs.db": b"", "README": b"", "b/0.CR2": b"", "b/1.tiff.xyz": b"", "b/.x.heic": b""}
SAID = (
    "3 files are not read: 2 .heic, 1 .cr2, which leaves no image in a; export pictures as PNG or "
    "JPEG"
)


def test_pictures_that_are_not_read_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = UNREAD | READ | BESIDE
    for source in (
        write_folder(tmp_path / "folder", files),
        write_zip(tmp_path / "a.zip", files),
        write_tar(tmp_path / "a.tar", files),
    ):
        assert len(converted(source, tmp_path / "dest" / source.name)) == 3
        assert capsys.readouterr().err == f"Warning: {source}: {SAID}\n"
    for path in ("folder", "a.zip"):
        assert tool("--check", tmp_path / path) == 0
        assert capsys.readouterr().err == f"Warning: {tmp_path / path}: {SAID}\n"


def test_what_is_beside_images_is_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool("--check", write_folder(tmp_path / "data", READ | BESIDE)) == 0
    assert capsys.readouterr().err == ""


def test_one_file_beside_others_of_its_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_folder(tmp_path / "data", READ | {"b/x.heic": b"", "a/c/0.png": png(9, 8, 8)})
    assert tool("--check", path) == 0
    assert "data: 1 file is not read: 1 .heic; export" in capsys.readouterr().err


def test_an_error_names_what_was_found_instead_of_images(tmp_path: Path) -> None:
    kinds = {f"{index}.k{index}": b"" for index in range(6)}
    with pytest.raises(
        UserError, match=r"but 1 \.k0, 1 \.k1, 1 \.k2, 1 \.k3, 2 more kinds; export"
    ):
        ImageArchive(write_folder(tmp_path / "data", kinds))
    with pytest.raises(UserError, match=r"but 2 \.heic, 1 \.cr2; export pictures"):
        ImageArchive(write_folder(tmp_path / "heic", UNREAD))


def test_a_picture_is_neither_a_source_nor_a_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_folder(tmp_path / "source", READ)
    assert tool("--source", source / "b" / "0.tiff", "--dest", tmp_path / "a.zip") == 2
    assert "0.tiff: is a picture; name the folder of the pictures" in error_line(capsys)
    assert tool("--source", source, "--dest", tmp_path / "x.JPG") == 2
    assert "x.JPG: is named like a picture" in error_line(capsys)
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


def test_a_single_problem_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_folder(tmp_path / "data", {"a/0.png": png(0, 17, 17), "b/0.png": png(1, 17, 17)})
    assert tool("--check", path) == 2
    output = capsys.readouterr()
    assert "17x17: each side must" not in output.out
    assert output.err.count("17x17: each side must") == 1


def test_accents_of_class_names_may_be_apart(tmp_path: Path) -> None:
    files = {f"{APART}/0.png": png(0), f"{COMPOSED}/1.png": png(1), "a/2.png": png(2)}
    source = write_folder(tmp_path / "source", files)
    for number, typed in enumerate((COMPOSED, APART)):
        archive = converted(source, tmp_path / f"{number}.zip", "--classes", f"{typed},a")
        assert archive.class_names == (COMPOSED, "a")
        assert archive.labels is not None and archive.labels.tolist().count(0) == 2
    (table := tmp_path / "labels.csv").write_text(f"0.png,{APART}\n1.png,{COMPOSED}\n2.png,a\n")
    archive = converted(source, tmp_path / "table.zip", "--labels", table)
    assert archive.class_names == (COMPOSED, "a")
    content = json.dumps({"labels": [["a.png", 0]], "class_names": [APART]}).encode()
    listed = write_zip(tmp_path / "b.zip", {"dataset.json": content, "a.png": png(0)})
    assert ImageArchive(listed).class_names == (COMPOSED,)


@pytest.mark.parametrize("known", [COMPOSED, APART])
def test_a_class_of_a_network_is_found_by_either_spelling(known: str) -> None:
    facts = DataFacts(
        width=8,
        height=8,
        num_channels=3,
        num_classes=2,
        class_names=("a", known),
        num_images=2,
        digest="",
    )
    assert class_index(facts, COMPOSED) == class_index(facts, APART) == 1


def test_a_preview_draws_letters_that_the_font_has(tmp_path: Path) -> None:
    sheets = []
    for name in (APART, "Susse Fruchte"):
        source = write_folder(
            tmp_path / name, {f"{name}/0.png": png(0, 8, 8), "a/0.png": png(1, 8, 8)}
        )
        converted(source, tmp_path / f"{name}.zip", "--preview", tmp_path / "sheet.png")
        sheets.append(np.asarray(Image.open(tmp_path / "sheet.png")))
    assert np.array_equal(*sheets)
