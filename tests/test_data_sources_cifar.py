"""CIFAR archives: the published layouts, and pickles that would like to run something."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_helpers import converted, error_line, tool, write_folder
from data_layouts import (
    CLASSES,
    cifar10_files,
    cifar100_files,
    cifar_pixels,
    python2_batch,
    python2_meta,
    write_tar,
)

from dnnlib import UserError
from training.data.images import Pixels
from training.data.sources import SourceOptions, open_source

BATCH, META = "cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/batches.meta"


def picture(row: np.ndarray) -> Pixels:
    """A row of CIFAR as an image: three planes of 32 rows of 32 pixels."""
    planes = [row[start : start + 1024].reshape(32, 32) for start in (0, 1024, 2048)]
    return np.stack(planes, axis=2)


def test_cifar10(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "cifar-10-python.tar.gz", cifar10_files())
    source = open_source(str(path))
    assert source.class_names == CLASSES and len(source.names) == 9
    assert source.labels is not None and source.labels.tolist() == [0, 1, 2, 0, 0, 1, 1, 2, 2]
    assert np.array_equal(source.decode(1), picture(cifar_pixels(0, 2)[1]))
    assert np.array_equal(source.decode(8), picture(cifar_pixels(9, 1)[0]))
    assert source.where(1) == f"{path}[data_batch_4[1]]"
    archive = converted(path, tmp_path / "a.zip")
    assert archive.class_names == CLASSES and archive.shape == (32, 32, 3)
    assert np.array_equal(archive.read(1), source.decode(1))


def test_cifar10_splits(tmp_path: Path) -> None:
    path = str(write_tar(tmp_path / "data.tgz", cifar10_files()))
    test = open_source(path, SourceOptions(split="test"))
    assert [name.partition("[")[0] for name in test.names] == ["test_batch"] * 2
    assert np.array_equal(test.decode(0), picture(cifar_pixels(1, 2)[0]))
    assert len(open_source(path, SourceOptions(split="all")).names) == 11
    with pytest.raises(UserError, match="--split val: CIFAR has train, test, all"):
        open_source(path, SourceOptions(split="val"))
    with pytest.raises(UserError, match="--cifar100-labels"):
        open_source(path, SourceOptions(cifar100_labels="coarse"))


def test_cifar100_has_two_kinds_of_classes(tmp_path: Path) -> None:
    path = str(write_tar(tmp_path / "cifar-100-python.tar.gz", cifar100_files()))
    fine = open_source(path)
    assert fine.class_names == ("apple", "bear", "bee", "bus")
    assert fine.labels is not None and fine.labels.tolist() == [3, 0]
    coarse = open_source(path, SourceOptions(cifar100_labels="coarse"))
    assert coarse.class_names == ("food", "other")
    assert coarse.labels is not None and coarse.labels.tolist() == [1, 0]
    assert np.array_equal(coarse.decode(0), picture(cifar_pixels(0, 2)[0]))


def test_unpacked_folder_and_python3_pickles(tmp_path: Path) -> None:
    rows = cifar_pixels(3, 2)
    batch = {"data": rows, "labels": [0, 2]}
    for protocol in (2, 3, 4):
        folder = tmp_path / str(protocol)
        files = {
            "data_batch_1": pickle.dumps(batch, protocol),
            "batches.meta": pickle.dumps({"label_names": list(CLASSES)}, protocol),
        }
        source = open_source(str(write_folder(folder, files)))
        assert np.array_equal(source.decode(1), picture(rows[1])) and source.class_names == CLASSES


def test_pixels_are_unpacked_to_a_temporary_file_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = write_tar(tmp_path / "data.tgz", cifar10_files())
    source = open_source(str(path))
    copy = pickle.loads(pickle.dumps(source))
    assert np.array_equal(copy.decode(3), source.decode(3))
    del copy
    assert np.array_equal(source.decode(3), source.decode(3))
    assert len(list(tmp_path.iterdir())) == 2
    del source
    assert list(tmp_path.iterdir()) == [path]


class Hostile:
    """Runs a command when an ordinary unpickler reads it."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call = call, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def hostile_pickles(marker: Path) -> dict[str, bytes]:
    command = f"touch {marker}"
    # dtype.code = 'x', then a call of dtype.
    build = b"\x80\x02cnumpy\ndtype\nq\x00N}X\x04\x00\x00\x00codeX\x01\x00\x00\x00xs\x86b"
    build += b"h\x00K\x01\x85R."
    return {
        "system": pickle.dumps({"data": Hostile(os.system, command)}, 2),
        "eval": pickle.dumps({"data": Hostile(eval, f"open({str(marker)!r}, 'w')")}, 4),
        "text": f"cposix\nsystem\n(S'{command}'\ntR.".encode(),
        "instance": f"(S'{command}'\niposix\nsystem\n.".encode(),
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.",
        "attributes of what is known": build,
        "persistent": b"\x80\x02U\x01xQ.",
        "no dict": pickle.dumps([1]),
        "objects": pickle.dumps({"data": np.array([None] * 3072).reshape(1, -1), "labels": [0]}, 2),
        "too many elements": pickle.dumps({"data": cifar_pixels(0, 1), "labels": [0]}, 2).replace(
            b"K\x01M\x00\x0c\x86", b"K\x09M\x00\x0c\x86"
        ),
    }


@pytest.mark.parametrize("case", hostile_pickles(Path()))
@pytest.mark.parametrize("entry", [BATCH, META])
def test_hostile_pickles_run_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, entry: str
) -> None:
    marker = tmp_path / "marker"
    files = cifar10_files() | {entry: hostile_pickles(marker)[case]}
    path = write_tar(tmp_path / "data.tar.gz", files)
    assert tool("--source", path, "--dest", tmp_path / "dest.zip") == 2
    assert str(path) in error_line(capsys)
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_pickle_names_is_told(tmp_path: Path) -> None:
    files = cifar10_files() | {BATCH: hostile_pickles(tmp_path / "marker")["text"]}
    path = write_tar(tmp_path / "data.tar", files)
    with pytest.raises(UserError, match=r"data_batch_1: refused, it asks for 'posix.system'"):
        open_source(str(path))


BAD_BATCHES = {
    "cut batch": (BATCH, cifar10_files()[BATCH][:-20], "no readable batch"),
    "labels short": (BATCH, python2_batch(cifar_pixels(0, 2), {"labels": [0]}), "each of the 2"),
    "no labels": (BATCH, python2_batch(cifar_pixels(0, 1), {}), "labels must hold one label"),
    "negative": (BATCH, pickle.dumps({"data": cifar_pixels(0, 1), "labels": [-1]}, 2), "found -1"),
    "beyond": (
        BATCH,
        python2_batch(cifar_pixels(0, 1), {"labels": [3]}),
        "there are 3 class_names",
    ),
    "other size": (BATCH, python2_batch(cifar_pixels(0, 1)[:, :99], {"labels": [0]}), "3072"),
    "no names": (META, python2_meta("other", CLASSES), "name no classes"),
    "names twice": (META, python2_meta("label_names", ["a", "a"]), "twice"),
}


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_bad_batches(tmp_path: Path, case: str) -> None:
    entry, data, message = BAD_BATCHES[case]
    path = write_tar(tmp_path / "data.tar", cifar10_files() | {entry: data})
    with pytest.raises(UserError, match=message) as caught:
        open_source(str(path))
    assert str(path) in str(caught.value)


def test_oversized_batches_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "data.tar", cifar10_files())
    monkeypatch.setattr("training.data.sources.cifar.MAX_BATCH_BYTES", 1000)
    with pytest.raises(UserError, match=r"data_batch_4: is larger than any file of CIFAR"):
        open_source(str(path))


def test_incomplete_and_truncated_archives(tmp_path: Path) -> None:
    files = cifar10_files()
    without = write_tar(tmp_path / "a.tar", {n: d for n, d in files.items() if n != META})
    with pytest.raises(UserError, match=r"a\.tar: has no batches\.meta"):
        open_source(str(without))
    whole = write_tar(tmp_path / "data.tar.gz", files).read_bytes()
    (tmp_path / "data.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"data\.tar\.gz.*ended before"):
        open_source(str(tmp_path / "data.tar.gz"))
