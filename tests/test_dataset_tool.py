"""dataset_tool.py end to end, through the same door as its users."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_helpers import converted, error_line, labelled, png, tool, write_folder, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.data import recipe
from training.data.archive import ImageArchive
from training.data.images import Format, decode_image

FOLDERS = {f"{name}/{i}.png": png(i, 8, 8) for i, name in enumerate(["cat", "cow", "dog"] * 4)}


def test_class_folders_to_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_folder(tmp_path / "source", FOLDERS)
    dest = tmp_path / "dest.zip"
    archive = converted(source, dest)
    assert archive.class_names == ("cat", "cow", "dog")
    assert archive.labels is not None and archive.labels.tolist() == sorted([0, 1, 2] * 4)
    assert archive.names[11] == "00000/img00000011.png"
    original = ImageArchive(source)
    assert all(np.array_equal(archive.read(i), original.read(i)) for i in range(12))
    assert {entry.compress_type for entry in zipfile.ZipFile(dest).infolist()} == {0}
    output = capsys.readouterr()
    assert output.err == "" and f"12 images, 8x8 RGB: {dest}" in output.out
    assert [line.split() for line in output.out.splitlines()[1:4]] == [
        ["0", "cat", "4"],
        ["1", "cow", "4"],
        ["2", "dog", "4"],
    ]


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_every_layout_converts_alike(tmp_path: Path, suffix: str) -> None:
    pairs = [[f"any/{name}", ["cat", "cow", "dog"].index(name[:3])] for name in FOLDERS]
    listed = FOLDERS | {"list.json": json.dumps(pairs).encode()}
    sources = [
        write_folder(tmp_path / "folder", FOLDERS),
        write_zip(tmp_path / "folder.zip", {f"top/{n}": data for n, data in FOLDERS.items()}),
        write_zip(tmp_path / "list.zip", listed),
    ]
    results = [
        converted(source, tmp_path / f"dest{number}{suffix}")
        for number, source in enumerate(sources)
    ]
    again = converted(results[0].path, tmp_path / f"again{suffix}")
    assert len({archive.digest() for archive in [*results, again]}) == 1


@pytest.mark.parametrize("options", [(), ("--resolution", "6x4"), ("--format", "jpeg")])
def test_bytes_do_not_depend_on_workers(tmp_path: Path, options: tuple[str, ...]) -> None:
    source = write_folder(tmp_path / "source", FOLDERS)
    outputs = set()
    for workers in (1, 2, 5):
        dest = tmp_path / f"{workers}.zip"
        converted(source, dest, "--workers", workers, *options)
        outputs.add(dest.read_bytes())
    assert len(outputs) == 1


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.booleans())
def test_labels_round_trip(
    tmp_path_factory: pytest.TempPathFactory, labels: list[object], named: bool
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    source = write_zip(
        folder / "a.zip", labelled(labels, ["a", "b", "c", "d é"] if named else None)
    )
    archive = converted(source, folder / "b.zip")
    assert archive.labels is not None and archive.labels.tolist() == labels
    assert archive.class_names == ImageArchive(source).class_names


def test_vectors_and_missing_labels_round_trip(tmp_path: Path) -> None:
    vectors: list[object] = [[0.1, 1.0], [1 / 3, -2.0]]
    source = write_zip(tmp_path / "vectors.zip", labelled(vectors))
    archive = converted(source, tmp_path / "a.zip")
    assert archive.labels is not None and archive.labels.tolist() == vectors
    bare = converted(write_zip(tmp_path / "bare.zip", {"a.png": png(0)}), tmp_path / "b")
    assert not bare.has_labels and bare.names == ("00000/img00000000.png",)


def test_selection_keeps_the_shares_of_classes(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", FOLDERS)

    def labels(*options: object) -> list[str]:
        archive = converted(source, tmp_path / "dest.zip", "--overwrite", *options)
        assert archive.labels is not None
        return [archive.class_names[label] for label in archive.labels]

    assert labels("--max_images", 6) == ["cat"] * 2 + ["cow"] * 2 + ["dog"] * 2
    assert labels("--max-per-class", 1) == ["cat", "cow", "dog"]
    assert labels("--classes", "dog,cat") == ["cat"] * 4 + ["dog"] * 4
    assert ImageArchive(tmp_path / "dest.zip").class_names == ("dog", "cat")
    assert labels("--classes", "dog", "--max-per-class", 3, "--max-images", 2) == ["dog"] * 2


def test_formats_and_sizes(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", {"a.png": png(0, 9, 16), "b.png": png(1, 16, 9)})
    archive = converted(source, tmp_path / "a", "--resolution", "10x5", "--format", "jpeg")
    assert archive.names[0] == "00000/img00000000.jpg" and archive.shape == (5, 10, 3)
    assert decode_image((tmp_path / "a" / archive.names[0]).read_bytes(), "").shape == (5, 10, 3)
    options = ("--resolution", "10x5", "--transform", "center-crop-wide")
    assert converted(source, tmp_path / "b.zip", *options).shape == (10, 10, 3)


def test_skipping_names_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"cat/1.png": b"x", "dog/9.png": png(0, 5, 5)}
    source = write_folder(tmp_path / "source", FOLDERS | bad)
    outputs = set()
    for workers in (1, 3):
        dest = tmp_path / f"{workers}.zip"
        archive = converted(source, dest, "--on-error", "skip", "--workers", workers)
        assert len(archive) == 12 and archive.names[-1] == "00000/img00000011.png"
        assert archive.labels is not None and archive.labels.tolist() == sorted([0, 1, 2] * 4)
        outputs.add(dest.read_bytes())
    assert len(outputs) == 1
    output = capsys.readouterr()
    assert "cat/1.png" in output.err and "dog/9.png" in output.err
    assert "12 images (2 skipped)" in output.out


def test_overwriting_replaces_archives_only(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", FOLDERS)
    for dest in (tmp_path / "dest", tmp_path / "dest.zip"):
        before = converted(source, dest).digest()
        assert tool("--source", source, "--dest", dest) == 2
        assert ImageArchive(dest).digest() == before
        smaller = converted(source, dest, "--overwrite", "--max-images", 3)
        assert len(smaller) == 3
    home = write_folder(tmp_path / "home", {"thesis.txt": b"years of work"})
    assert tool("--source", source, "--dest", home, "--overwrite") == 2
    assert (home / "thesis.txt").exists()
    (tmp_path / "empty").mkdir()
    converted(source, tmp_path / "empty")
    expected = {"source", "dest", "dest.zip", "home", "empty"}
    assert {entry.name for entry in tmp_path.iterdir()} == expected


GOOD = FOLDERS | {"cat/1.png": png(1, 8, 8)}
MIXED_SIZES = {"a.png": png(0, 8, 8), "b.png": png(1, 4, 8)}
MIXED_CHANNELS = {"a.png": png(0, 8, 8), "b.png": png(1, 8, 8, 1)}
BAD_RUNS = {
    "broken image": (GOOD | {"cat/2.png": png(2)[:50]}, (), r"cat/2.png: is not a readable image"),
    "mixed sizes": (MIXED_SIZES, (), r"a.png is 8x8 RGB, but .*b.png is 8x4 RGB.*--resolution"),
    "mixed channels": (MIXED_CHANNELS, ("--resolution", 8), r"b.png is 8x8 grey.*--channels"),
    "no image": ({"a.txt": b""}, (), "holds no image"),
    "nothing readable": ({"a.png": b""}, ("--on-error", "skip"), "no image that can be read"),
    "bad label": (labelled([0, -1]), (), "must be a class index"),
    "unknown class": (GOOD, ("--classes", "cat,cod"), "no class 'cod'; the source has cat, cow"),
    "class twice": (GOOD, ("--classes", "cat,cat"), "twice"),
    "classes of none": ({"a.png": png(0)}, ("--classes", "a"), "--classes: needs data with"),
    "limit for vectors": (labelled([[0.5]]), ("--max-per-class", 1), "vectors as labels"),
    "transform alone": (GOOD, ("--transform", "stretch"), "add --resolution"),
    "jpeg with alpha": ({"a.png": png(0, channels=4)}, ("--format", "jpeg"), "use png"),
    "not a size": (GOOD, ("--resolution", "big"), "256 or 320x256"),
    "not a transform": (GOOD, ("--transform", "zoom"), "zoom"),
    "no worker": (GOOD, ("--workers", 0), "--workers"),
    "no images wanted": (GOOD, ("--max-images", 0), "--max-images"),
    "unknown option": (GOOD, ("--size", 3), "--size"),
    "resize alone": (GOOD, ("--resize", "box"), "add --resolution"),
    "quality of png": (GOOD, ("--quality", 90), "--quality 90: is for --format jpeg"),
    "no quality": (GOOD, ("--format", "jpeg", "--quality", 101), "--quality.*100"),
    "not a colour": (GOOD, ("--alpha", "reddish"), "--alpha reddish: takes a colour"),
    "keep and resize": (GOOD, ("--format", "keep", "--resolution", 4), "have to be resized to 4x4"),
    "keep and change": (GOOD, ("--format", "keep", "--alpha", "red"), "--alpha red: changes"),
    "sheet of text": (GOOD, ("--preview", "a.txt"), "--preview a.txt: must end with .png"),
    "check as well": (GOOD, ("--check", "x"), "--check goes without"),
}


@pytest.mark.parametrize("dest", ["dest", "dest.zip"])
@pytest.mark.parametrize("case", BAD_RUNS)
def test_bad_runs_end_with_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, dest: str
) -> None:
    files, options, message = BAD_RUNS[case]
    source = write_folder(tmp_path / "source", files)
    assert tool("--source", source, "--dest", tmp_path / dest, *options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if not line.startswith("Warning: skipped")]) == 1
    assert lines[-1].startswith("Error: ")
    assert re.search(message, lines[-1]), lines[-1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


def test_destination_apart_from_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_folder(tmp_path / "source", FOLDERS)
    packed = converted(source, tmp_path / "packed.zip").path
    capsys.readouterr()
    for a, b in [
        (source, source),
        (source, source / "small"),
        (packed, packed),
        (source, tmp_path),
    ]:
        assert tool("--source", a, "--dest", b, "--overwrite") == 2
        assert "overlaps" in error_line(capsys)
    converted(source, source / "small.zip")


@pytest.mark.parametrize("dest", ["dest", "dest.zip"])
@pytest.mark.parametrize(
    ("problem", "status"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left"), 2)]
)
def test_an_interruption_leaves_a_hidden_draft_and_a_failure_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    problem: BaseException,
    status: int,
    dest: str,
) -> None:
    source = write_folder(tmp_path / "source", FOLDERS)
    before = converted(source, tmp_path / dest).digest()
    capsys.readouterr()
    encode, calls = recipe.encode_pillow, iter(range(12))

    def failing(image: Image.Image, image_format: Format, quality: int) -> bytes:
        if next(calls) == 7:
            raise problem
        return encode(image, image_format, quality)

    monkeypatch.setattr(recipe, "encode_pillow", failing)
    draft = {f".{dest}.partial"} if status == 130 else set()
    for workers in (1, 2):
        calls = iter(range(12))
        args = ("--source", source, "--dest", tmp_path / dest, "--overwrite", "--workers", workers)
        assert tool(*args) == status
        error_line(capsys)
        assert ImageArchive(tmp_path / dest).digest() == before
        assert {entry.name for entry in tmp_path.iterdir()} == {"source", dest} | draft


def test_a_folder_is_not_filled_from_inside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have to be moved away below the user's feet."""
    source = write_folder(tmp_path / "source", FOLDERS)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("sub")
    monkeypatch.chdir(tmp_path / "sub")
    for dest in (".", "../sub", "../sub/", "..", "../link", tmp_path / "sub", "/", "none/.."):
        assert tool("--source", source, "--dest", dest, "--overwrite") == 2
        assert "neither the current folder" in error_line(capsys)
    assert {entry.name for entry in tmp_path.iterdir()} == {"source", "sub", "link"}
    assert len(converted(source, Path("inside"))) == 12
    assert len(converted(source, Path("../beside.zip"))) == 12


def test_a_linked_folder_is_filled_where_it_is(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", FOLDERS)
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert len(converted(source, tmp_path / "link")) == 12
    assert (tmp_path / "link").is_symlink() and len(ImageArchive(tmp_path / "disk")) == 12


def test_a_sheet_that_cannot_be_written_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    source = write_folder(tmp_path / "source", FOLDERS)
    monkeypatch.setattr(Image.Image, "save", full)
    options = ("--format", "keep", "--preview", tmp_path / "sheet.png")
    assert len(converted(source, tmp_path / "dest", *options)) == 12
    assert "Warning: --preview" in (said := capsys.readouterr().err) and "No space left" in said
    assert not (tmp_path / "sheet.png").exists()


def test_names_of_files_need_not_be_utf_8(tmp_path: Path) -> None:
    files = {f"caf\udce9{index}.png": png(index) for index in range(3)}
    source = write_folder(tmp_path / "source\udce9", files | {"x\udce9.png": b""})
    assert len(converted(source, tmp_path / "a.zip", "--on-error", "skip")) == 3
    listed = write_folder(tmp_path / "listed", {"a.png": png(0), "b.png": png(1)})
    (table := tmp_path / "labels\udce9.csv").write_text("a,cat\nb,dog\n")
    archive = converted(listed, tmp_path / "b.zip", "--labels", table)
    assert archive.class_names == ("cat", "dog")


def test_unwritable_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_folder(tmp_path / "source", FOLDERS)
    (tmp_path / "file").write_bytes(b"")
    for dest in ("file/dest", "file/dest.zip"):
        assert tool("--source", source, "--dest", tmp_path / dest) == 2
        assert "cannot be written" in error_line(capsys)
