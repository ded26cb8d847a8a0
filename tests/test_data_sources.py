"""Foreign sources, and what users are told of the ones that are not understood."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_helpers import converted, error_line, pixels, tool


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
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.array([0, -1])}, "found -1 to 0"),
        ({"x": np.array([None, 1])}, "is not a whole .npz"),
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
