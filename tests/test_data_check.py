"""dataset_tool.py --check: what is wrong or odd, what to do about it, and the exit status."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from data_helpers import error_line, labelled, pillow_bytes, png, tool, write_folder, write_zip
from PIL import Image

import dataset_tool
from training.data.archive import ImageArchive

SOUND = {f"{name}/{i}.png": png(i, 8, 8) for i, name in enumerate(["cat", "cow", "dog"] * 8)}


def problems(out: str) -> list[str]:
    """The lines of a report that begin a finding."""
    return [line for line in out.splitlines() if re.match("Problem|Note", line)]


def test_sound_data_passes_with_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_zip(tmp_path / "a.zip", SOUND)
    assert tool("--check", path) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[0] == f"{path}: 24 images, 8x8 RGB"
    assert [line.split() for line in lines[2:5]] == [
        ["0", "cat", "8"],
        ["1", "cow", "8"],
        ["2", "dog", "8"],
    ]
    assert lines[5:] == [f"digest {ImageArchive(path).digest()}", "Training can use it"]
    assert output.err == ""


def test_shipped_digits_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("--check", Path(dataset_tool.__file__).parent / "assets" / "mnist5k.zip") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("mnist5k.zip: 5000 images, 28x28 grey")
    assert [line.split()[2] for line in lines[2:12]] == ["500"] * 10
    assert lines[12].startswith("digest ")


VECTORS = {f"0/{i}.png": png(i, 8, 8) for i in range(2)} | {
    "dataset.json": b'{"labels": [["0/0.png", [0.5, 1]], ["0/1.png", [1, 2]]]}'
}
ONE_EMPTY = {f"0/{i}.png": png(i, 8, 8) for i in range(2)} | {
    "dataset.json": b'{"labels": [["0/0.png", 0], ["0/1.png", 2]], '
    b'"class_names": ["cat", "dog", "cow"]}'
}
REFUSED = {
    "truncated": (
        SOUND | {"cat/0.png": png(0, 8, 8)[:60]},
        r"1 of 24 files cannot be read \(.*cat/0\.png: is not a readable image.*--on-error skip",
    ),
    "mixed sizes": (
        SOUND | {"cat/0.png": png(0, 8, 5)},
        r"2 different sizes or channels \(8x8 RGB: 23 images.*--resolution",
    ),
    "mixed channels": (SOUND | {"cat/0.png": png(0, 8, 8, 1)}, r"2 different .*--channels"),
    "no power of two": (
        {name: png(3, 9, 11) for name in SOUND},
        r"resolution 11x9: each side must.*--resolution",
    ),
    "class without image": (ONE_EMPTY, r"1 of 3 classes have no image, the first is 'dog'; add"),
    "vectors": (VECTORS, r"labels are vectors of 2 numbers.*--cond=false"),
    "nothing readable": ({"a.png": b""}, r"1 of 1 file cannot be read"),
    "labels of unknown files": (
        labelled([0, 1]) | {"dataset.json": b'{"labels": [["x.png", 0]]}'},
        r"unknown file 'x\.png'",
    ),
    "no image": ({"a.txt": b""}, "holds no image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_training_refuses_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    files, message = REFUSED[case]
    assert tool("--check", write_folder(tmp_path / "data", files)) == 2
    assert re.search(message, line := error_line(capsys)), line


def test_every_broken_file_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = {"cat/0.png": b"", "cow/1.png": png(1)[:40], "dog/2.png": b"GIF89a"}
    path = write_folder(tmp_path / "data", SOUND | broken)
    for workers in (1, 2):
        assert tool("--check", path, "--workers", workers) == 2
        output = capsys.readouterr()
        assert all(f"    {path}/{name}: is not a readable image" in output.out for name in broken)
        assert problems(output.out)[0].startswith("Problem: 3 of 24 files cannot be read; mend")


def test_several_problems_are_all_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ONE_EMPTY | {"0/0.png": png(0, 5, 5)}
    assert tool("--check", write_folder(tmp_path / "data", files)) == 2
    output = capsys.readouterr()
    assert [line[:7] for line in problems(output.out)].count("Problem") == 2
    assert "(1 more above)" in output.err


def test_duplicates_and_images_of_two_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = {"cat/copy.png": SOUND["cat/0.png"], "dog/odd.png": SOUND["cow/1.png"]}
    assert tool("--check", write_zip(tmp_path / "a.zip", SOUND | copies)) == 0
    output = capsys.readouterr().out
    first, second = problems(output)
    assert first.startswith("Note: 2 files with the bytes of another; remove")
    assert second.startswith("Note: 1 image in more than one class; keep")
    assert "    cat/0.png = cat/copy.png\n" in output
    assert output.count("    cow/1.png = dog/odd.png\n") == 2
    assert output.splitlines()[-1] == "Training can use it, see the notes above"


def test_outliers_in_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = {f"cat/{i}.png": png(i, 32, 32) for i in range(9)}
    blank = pillow_bytes(Image.new("RGB", (32, 32)), "PNG")
    assert tool("--check", write_folder(tmp_path / "a", large | {"cat/blank.png": blank})) == 0
    output = capsys.readouterr().out
    assert "1 image more than 8 times below or above the median" in output
    assert f"    cat/blank.png: {len(blank)} bytes\n" in output
    assert tool("--check", write_folder(tmp_path / "b", large | {"cat/tiny.png": png(9)})) == 2
    output = capsys.readouterr().out
    assert "the median of 1024 pixels" in output and "    cat/tiny.png: 24 pixels\n" in output


def test_data_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("--check", write_zip(tmp_path / "a.zip", {"a.png": png(0, 8, 8)})) == 0
    (line,) = problems(capsys.readouterr().out)
    assert "there are no labels" in line and "dataset.json" in line


def test_preview_leaves_out_what_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_folder(tmp_path / "data", SOUND | {"cat/0.png": b"x"})
    sheet = tmp_path / "sheet.png"
    assert tool("--check", path, "--preview", sheet) == 2
    with Image.open(sheet) as opened:
        assert opened.height == 16 + 3 * 50 - 2 and np.asarray(opened).std() > 10
    empty = write_folder(tmp_path / "empty", {"a.png": b""})
    assert tool("--check", empty, "--preview", tmp_path / "none.png") == 2
    assert not (tmp_path / "none.png").exists()


def test_options_that_checking_has_no_use_for(capsys: pytest.CaptureFixture[str]) -> None:
    for options in (("--resolution", 8), ("--max-images", 3), ("--overwrite",), ("--split", "x")):
        assert tool("--check", "x", *options) == 2
        assert f"--check goes without {options[0]}" in error_line(capsys)
    assert tool("--check", "x", "--workers", 0) == 2
    assert "--workers" in error_line(capsys)
