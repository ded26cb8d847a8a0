"""Small files in the layouts that published data sets have, byte for byte."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from data_helpers import png

CLASSES = ("cat", "dog", "cow")


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """A tar of the given files, compressed where the name ends in gz."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def python2_batch(pixels: np.ndarray, labels: Mapping[str, Sequence[int]]) -> bytes:
    """A batch as Python 2's cPickle wrote it: protocol 2, pixels and texts as 8-bit strings."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    raw = pixels.tobytes()
    dtype = b"cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNN"
    dtype += number(-1) + number(-1) + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87R"
    array += b"q\x09(K\x01" + number(pixels.shape[0]) + number(pixels.shape[1]) + b"\x86" + dtype
    array += b"\x89T" + struct.pack("<I", len(raw)) + raw + b"tb"
    lists = b"".join(
        text(key.encode()) + b"](" + b"".join(b"K" + bytes([v % 256]) for v in values) + b"e"
        for key, values in labels.items()
    )
    label = text(b"batch_label") + b"q\x02" + text(b"training batch 1 of 5")
    return b"\x80\x02}q\x01(" + label + lists + text(b"data") + array + b"u."


def python2_meta(key: str, names: Sequence[str]) -> bytes:
    """`batches.meta` as Python 2's pickle wrote it: protocol 0, text."""
    listed = "".join(f"S'{name}'\np{i + 5}\na" for i, name in enumerate(names))
    return f"(dp1\nS'num_cases_per_batch'\np2\nI10000\nsS'{key}'\np3\n(lp4\n{listed}s.".encode()


def cifar_pixels(seed: int, count: int) -> np.ndarray:
    """Rows of CIFAR, uint8 `[count, 3072]`: red, green and blue plane."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def cifar10_files(per_batch: int = 2) -> dict[str, bytes]:
    """The files of `cifar-10-python.tar.gz`, in the order of the published archive."""
    folder = "cifar-10-batches-py/"
    batches = {
        f"{folder}{name}": python2_batch(
            cifar_pixels(seed, per_batch), {"labels": [(seed + i) % 3 for i in range(per_batch)]}
        )
        for seed, name in enumerate(
            ["data_batch_4", "test_batch", "data_batch_3", "data_batch_2", "data_batch_5"]
        )
    }
    first = {f"{folder}data_batch_1": python2_batch(cifar_pixels(9, 1), {"labels": [2]})}
    meta = {f"{folder}batches.meta": python2_meta("label_names", CLASSES)}
    return {f"{folder}readme.html": b"<html>"} | batches | meta | first


def cifar100_files() -> dict[str, bytes]:
    """The files of `cifar-100-python.tar.gz`."""
    labels = {"fine_labels": [3, 0], "coarse_labels": [1, 0]}
    meta = {
        b"fine_label_names": [b"apple", b"bear", b"bee", b"bus"],
        b"coarse_label_names": [b"food", b"other"],
    }
    return {
        "cifar-100-python/file.txt~": b"",
        "cifar-100-python/train": python2_batch(cifar_pixels(0, 2), labels),
        "cifar-100-python/test": python2_batch(cifar_pixels(1, 2), labels),
        "cifar-100-python/meta": pickle.dumps(meta, protocol=2),
    }


def write_idx(path: Path, array: np.ndarray) -> Path:
    """An idx file of bytes, compressed where the name ends in .gz."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    data = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def write_mnist(folder: Path, images: np.ndarray, labels: Sequence[int]) -> Path:
    """`images` uint8 `[N, H, W]` and their labels, under the published names."""
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.array(labels))
    return write_idx(folder / "train-images-idx3-ubyte.gz", images)


def write_stl10(folder: Path, images: np.ndarray, labels: Sequence[int]) -> Path:
    """`images` uint8 `[N, 96, 96, 3]` and labels from 1, as STL-10's binary files."""
    folder.mkdir(exist_ok=True)
    # Columns of planes: channel, then x, then y.
    (folder / "train_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())
    (folder / "train_y.bin").write_bytes(bytes(labels))
    (folder / "class_names.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return folder / "train_X.bin"


def huggingface_info(features: Mapping[str, object]) -> dict[bytes, bytes]:
    """Schema metadata as the `datasets` library writes it."""
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


IMAGE_FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": list(CLASSES), "_type": "ClassLabel"},
}


def write_parquet(
    path: Path,
    columns: Mapping[str, Sequence[object]],
    features: Mapping[str, object] | None = None,
    row_group_size: int = 100,
) -> Path:
    """A parquet file; columns of bytes become HuggingFace's structs of bytes and path."""
    arrays = {
        name: pa.array(
            [{"bytes": value, "path": f"{i}.png"} for i, value in enumerate(values)],
            pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        )
        if values and isinstance(values[0], bytes)
        else pa.array(values)
        for name, values in columns.items()
    }
    table = pa.table(arrays)
    if features is not None:
        table = table.replace_schema_metadata(huggingface_info(features))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def samples(labels: Sequence[object], suffix: str = ".cls", first: int = 0) -> dict[str, bytes]:
    """Files of a webdataset shard: `000000.png`, `000000.cls`, ..."""
    files: dict[str, bytes] = {}
    for number, label in enumerate(labels, first):
        files[f"{number:06d}.png"] = png(number)
        files[f"{number:06d}{suffix}"] = str(label).encode()
    return files
