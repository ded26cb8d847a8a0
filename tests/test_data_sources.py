"""Foreign sources, and what users are told of the ones that are not understood."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_helpers import (
    converted,
    error_line,
    labelled,
    pixels,
    png,
    tool,
    write_folder,
    write_zip,
)
from data_layouts import cifar10_files, samples, write_idx, write_parquet, write_tar
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib import UserError
from training.data.sources import SourceOptions, open_source

BYTE = st.integers(0, 255)


def test_npz_and_builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.stack([pixels(i, 4, 4, 1)[:, :, 0] for i in range(3)])
    np.savez(tmp_path / "data.npz", x=grey, y=np.array([1, 0, 2], np.uint8))
    archive = converted(tmp_path / "data.npz", tmp_path / "a.zip")
    assert archive.shape == (4, 4, 1) and archive.class_names == ("0", "1", "2")
    assert np.array_equal(archive.read(2)[:, :, 0], grey[2])
    np.savez(tmp_path / "bare.npz", x=np.stack([pixels(0)] * 2))
    assert not converted(tmp_path / "bare.npz", tmp_path / "b.zip").has_labels
    # The built-in set is found from any current folder.
    monkeypatch.chdir(tmp_path)
    options = ("--resolution", 32, "--max-per-class", 2)
    digits = converted(Path("builtin:mnist5k"), Path("mnist.zip"), *options)
    assert digits.shape == (32, 32, 1) and len(digits) == 20
    assert digits.class_names == tuple("0123456789")


def test_sources_that_are_not_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dest = tmp_path / "dest.zip"
    assert tool("--source", tmp_path / "none", "--dest", dest) == 2
    assert "no such file" in error_line(capsys)
    (tmp_path / "a.txt").write_text("hello")
    for source in (tmp_path / "a.txt", "builtin:cifar"):
        assert tool("--source", source, "--dest", dest) == 2
        line = error_line(capsys)
        assert "builtin:mnist5k" in line and ".npz" in line and "folder or zip" in line
    assert tool("--dest", dest) == 2
    assert "--source" in error_line(capsys)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros(2)}, "array 'x', found y"),
        ({"x": np.zeros((2, 4, 4))}, "must be uint8"),
        ({"x": np.zeros((0, 4, 4), np.uint8)}, "must be uint8"),
        ({"x": np.zeros((2, 4, 4, 2), np.uint8)}, "1, 3 or 4 channels"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.zeros(3, int)}, "each of the 2 images"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.zeros(2)}, "float64"),
        (
            {"x": np.zeros((2, 4, 4), np.uint8), "y": np.array([0, -1])},
            "x[1] must be a class index (a whole number from 0 to 1048575), found -1",
        ),
        ({"x": np.array([None, 1])}, "must be uint8 [N, H, W] or [N, H, W, C], found object [2]"),
    ],
)
def test_bad_npz_files(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arrays: dict[str, np.ndarray],
    message: str,
) -> None:
    np.savez(tmp_path / "a.npz", **arrays, allow_pickle=True)
    assert tool("--source", tmp_path / "a.npz", "--dest", tmp_path / "dest.zip") == 2
    assert message in error_line(capsys)


def test_truncated_npz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((9, 4, 4), np.uint8))
    for data in (b"", b"text", (tmp_path / "a.npz").read_bytes()[:100]):
        (tmp_path / "a.npz").write_bytes(data)
        assert tool("--source", tmp_path / "a.npz", "--dest", tmp_path / "dest.zip") == 2
        assert "is not a whole .npz" in error_line(capsys)


def test_folders_of_two_kinds_are_told_apart(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", {"a.png": png(0)})
    write_parquet(folder / "data" / "x.parquet", {"image": [png(1)]})
    with pytest.raises(
        UserError, match=r"data: holds images and \.parquet files.*\*\*/\*\.parquet"
    ):
        open_source(str(folder))
    assert open_source(f"{folder}/**/*.parquet").fetch(0) == png(1)
    (folder / "a.png").unlink()
    assert open_source(str(folder)).fetch(0) == png(1)


def test_options_that_a_source_has_no_use_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", {"a/a.png": png(0), "b/b.png": png(1)})
    for name in (str(folder), "builtin:mnist5k"):
        with pytest.raises(UserError, match=r"--image-column: .* no use for it; drop the option"):
            open_source(name, SourceOptions(image_column="image"))
    with pytest.raises(UserError, match=r"--label-column: .*--labels"):
        open_source(str(folder), SourceOptions(label_column="image"))


def test_names_tell_nothing_contents_do(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", {"a/a.png": png(0), "b/b.png": png(1)})
    write_zip(folder / "archive", {"a.png": png(2)})
    assert open_source(str(folder / "archive")).fetch(0) == png(2)
    write_tar(folder / "files.tar", {"a.png": png(3)}).rename(folder / "files")
    assert open_source(str(folder / "files")).fetch(0) == png(3)
    write_parquet(folder / "rows", {"image": [png(4)]})
    assert open_source(str(folder / "rows")).fetch(0) == png(4)
    # An archive beside images is where they came from.
    write_tar(folder / "b.tar", {"a.png": png(3)})
    for name in ("archive", "files", "rows"):
        (folder / name).unlink()
    assert open_source(str(folder)).names == ("a/a.png", "b/b.png")
    (folder / "cut.gz").write_bytes(gzip.compress(b"x" * 99)[:-9])
    with pytest.raises(UserError, match=r"cut\.gz: is truncated or damaged"):
        open_source(str(folder / "cut.gz"))
    with pytest.raises(UserError, match=r"text\.zip: could not tell what it is"):
        (folder / "text.zip").write_text("hello")
        open_source(str(folder / "text.zip"))


WHOLE_FILES: dict[str, Callable[[Path], object]] = {
    "a.zip": lambda path: write_zip(path, labelled([0, 1])),
    "a.tar": lambda path: write_tar(path, samples([0, 1])),
    "a.tar.gz": lambda path: write_tar(path, samples([0, 1])),
    "cifar.tar": lambda path: write_tar(path, cifar10_files(1)),
    "a.npz": lambda path: np.savez(path, x=np.zeros((2, 3, 3), np.uint8), y=np.arange(2)),
    "b.npz": lambda path: np.savez_compressed(path, x=np.zeros((2, 3, 3), np.uint8)),
    "a.parquet": lambda path: write_parquet(path, {"image": [png(0)], "label": [0]}),
    "images.idx": lambda path: write_idx(path, np.zeros((2, 3, 3))),
}


@pytest.mark.parametrize("name", WHOLE_FILES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_gives_a_clear_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / name
    WHOLE_FILES[name](path)
    content = bytearray(path.read_bytes())
    end = data.draw(st.integers(1, len(content)) | st.just(len(content)))
    for position, value in data.draw(st.dictionaries(st.integers(0, end - 1), BYTE)).items():
        content[position] = value
    path.write_bytes(content[:end])
    try:
        source = open_source(str(path))
        for index in range(len(source.names)):
            source.decode(index)
    except UserError as error:
        assert str(path) in str(error)
