"""Sources of raw pixels: MNIST's idx files, STL-10's binary files, NumPy's npz."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_helpers import UNHURRIED, converted, pixels
from data_layouts import CLASSES, write_idx, write_mnist, write_stl10
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from dnnlib import UserError
from training.data.sources import open_source

DIGITS = np.stack([pixels(i, 5, 3, 1)[:, :, 0] for i in range(4)])
PHOTOS = np.stack([pixels(i, 96, 96) for i in range(3)])


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_mnist(tmp_path: Path, suffix: str) -> None:
    path = write_mnist(tmp_path, DIGITS, [7, 0, 7, 2])
    if not suffix:
        for packed in list(tmp_path.iterdir()):
            packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
            packed.unlink()
        path = path.with_suffix("")
    source = open_source(str(path))
    assert source.labels is not None and source.labels.tolist() == [7, 0, 7, 2]
    assert source.class_names == tuple("01234567")
    assert all(np.array_equal(source.decode(i)[:, :, 0], DIGITS[i]) for i in range(4))
    assert converted(path, tmp_path / "a.zip").shape == (5, 3, 1)


def test_mnist_test_set_and_missing_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.sources.idx.logger.propagate", True)
    path = write_idx(tmp_path / "t10k-images.idx3-ubyte", DIGITS)
    assert open_source(str(path)).labels is None
    assert "t10k-labels.idx1-ubyte" in caplog.text
    write_idx(tmp_path / "t10k-labels.idx1-ubyte", np.arange(4))
    assert open_source(str(path)).class_names == ("0", "1", "2", "3")


BAD_IDX: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (lambda data: data[:-1], "must hold 60 bytes of pixels for 4 images of 3x5, found 59"),
    "too long": (lambda data: data + b"x", "found 61"),
    "only a header": (lambda data: data[:10], "is not an idx file of images"),
    "labels": (lambda data: b"\0\0\x08\x01\0\0\0\x01\x05", "is not an idx file of images"),
    "empty": (lambda data: b"\0\0\x08\x03" + bytes(12), "holds no image"),
}


@pytest.mark.parametrize("case", BAD_IDX)
@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_bad_idx_files(tmp_path: Path, case: str, pack: Callable[[bytes], bytes]) -> None:
    spoil, message = BAD_IDX[case]
    whole = write_idx(tmp_path / "train-images-idx3-ubyte", DIGITS)
    path = tmp_path / "images.gz"
    path.write_bytes(pack(spoil(whole.read_bytes())))
    with pytest.raises(UserError, match=rf"images\.gz: .*{message}"):
        open_source(str(path))


def test_idx_labels_that_do_not_fit(tmp_path: Path) -> None:
    path = write_mnist(tmp_path, DIGITS, [0, 1, 2])
    with pytest.raises(UserError, match=r"labels-idx1-ubyte\.gz: .*each of the 4 images.*says 3"):
        open_source(str(path))
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 4) + b"\0\1"))
    with pytest.raises(UserError, match="says 4 and it has 2"):
        open_source(str(path))
    labels.write_bytes(labels.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"labels-idx1-ubyte\.gz: is truncated"):
        open_source(str(path))


def test_truncated_gz_and_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    noise = np.random.default_rng(0).integers(0, 256, (100, 28, 28))
    whole = write_idx(path, noise).read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=r"idx3-ubyte\.gz: is truncated or damaged"):
        open_source(str(path))
    monkeypatch.setattr("training.data.sources.unpack.FREE_BYTES", 1000)
    write_idx(path, np.zeros((1000, 28, 28)))
    with pytest.raises(UserError, match=r"idx3-ubyte\.gz: .*decompression bomb"):
        open_source(str(path))
    write_idx(path, noise)
    assert len(open_source(str(path)).names) == 100


def test_stl10(tmp_path: Path) -> None:
    path = write_stl10(tmp_path / "stl10_binary", PHOTOS, [3, 1, 3])
    source = open_source(str(path))
    assert source.class_names == CLASSES
    assert source.labels is not None and source.labels.tolist() == [2, 0, 2]
    assert all(np.array_equal(source.decode(i), PHOTOS[i]) for i in range(3))
    # The first bytes of the file are the red ones of the leftmost column.
    assert path.read_bytes()[:96] == source.decode(0)[:, 0, 0].tobytes()
    unlabeled = path.rename(path.with_name("unlabeled_X.bin"))
    assert open_source(str(unlabeled)).labels is None


def test_bad_stl10_files(tmp_path: Path) -> None:
    path = write_stl10(tmp_path, PHOTOS, [3, 1, 0])
    with pytest.raises(UserError, match=r"train_y\.bin: must hold classes from 1, found 0"):
        open_source(str(path))
    (tmp_path / "train_y.bin").write_bytes(b"\1\2\4")
    with pytest.raises(UserError, match="class 3, but there are 3"):
        open_source(str(path))
    (tmp_path / "train_y.bin").write_bytes(b"\1\2")
    with pytest.raises(UserError, match=r"train_y\.bin: .*each of the 3 images.*found 2"):
        open_source(str(path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"train_X\.bin: must hold images of 27648 bytes"):
        open_source(str(path))


@UNHURRIED
@given(
    arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=5)),
    st.sampled_from([None, 1, 3, 4]),
    st.sampled_from([np.savez, np.savez_compressed]),
    st.booleans(),
)
def test_npz_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    x: np.ndarray,
    channels: int | None,
    save: Callable[..., None],
    fortran_order: bool,
) -> None:
    images = x if channels is None else np.stack([x] * channels, axis=3)
    y = np.arange(len(x), dtype=np.uint16)
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    save(path, x=np.asfortranarray(images) if fortran_order else images, y=y)
    source = open_source(str(path))
    assert source.labels is not None and source.labels.tolist() == y.tolist()
    for i, image in enumerate(images):
        assert np.array_equal(source.decode(i), np.atleast_3d(image))


def test_npz_that_ends_early(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6, 10**6)}
    )
    path = tmp_path / "a.npz"
    np.savez(path, y=np.zeros(1))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", buffer.getvalue() + b"pixels")
    with pytest.raises(UserError, match=r"a\.npz: "):
        open_source(str(path))
