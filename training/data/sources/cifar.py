"""CIFAR-10 and CIFAR-100 in their Python version: a tar.gz of pickled batches, or its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from dnnlib import UserError
from training.data.labels import checked_class_names, make_labels
from training.data.sources.batch_pickle import plain_text, read_batch
from training.data.sources.options import SourceOptions
from training.data.sources.pixels import PixelSource, map_pixels
from training.data.sources.tar import tar_entries
from training.data.sources.unpack import Spool, append, open_packed

FOLDERS = ("cifar-10-batches-py", "cifar-100-python")
META = ("batches.meta", "meta")
IMAGE_BYTES = 3 * 32 * 32
MAX_BATCH_BYTES = 2**28

_SPLITS = {
    **{f"data_batch_{number}": "train" for number in range(1, 6)},
    **{"test_batch": "test", "train": "train", "test": "test"},
}


@dataclass
class _Batches:
    """What the pickles hold, in their order; the pixels of all images lie in `spool`."""

    spool: Spool = field(default_factory=Spool)
    names: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    meta: dict[str, Any] | None = None


def is_cifar_folder(names: list[str]) -> bool:
    """Whether a folder with files of these `names` is CIFAR's."""
    return {"batches.meta", "data_batch_1"} <= set(names) or {"meta", "train"} <= set(names)


def open_cifar(path: Path, options: SourceOptions) -> PixelSource:
    """The images of a split, `train` if left out, with the names of the classes.

    Raises `UserError` for files that are not whole, not CIFAR's, or hostile; nothing is run.
    """
    split = options.split or "train"
    if split not in {"train", "test", "all"}:
        raise UserError(f"--split {split}: CIFAR has train, test, all; choose one of these")
    batches = _Batches()
    for name, size, file in _files(path):
        if name in {*META, *_SPLITS} and size > MAX_BATCH_BYTES:
            raise UserError(f"{path}/{name}: is larger than any file of CIFAR; get the file again")
        if name in META:
            batches.meta = read_batch(file, f"{path}/{name}")
        elif name in _SPLITS and split in {_SPLITS[name], "all"}:
            _add_batch(batches, name, read_batch(file, f"{path}/{name}"), options, path)
    if not batches.names or batches.meta is None:
        missing = "batch of images" if batches.meta else "batches.meta or meta to name the classes"
        raise UserError(f"{path}: has no {missing}; get the file again")
    class_names = _class_names(batches.meta, options, path)
    return PixelSource(
        path,
        batches.names,
        make_labels(batches.labels, batches.names, str(path), class_names),
        map_pixels(batches.spool.path, 0, (len(batches.names), 3, 32, 32)),
        (1, 2, 0),
        batches.spool,
    )


def _add_batch(
    batches: _Batches, name: str, content: dict[str, Any], options: SourceOptions, path: Path
) -> None:
    key = f"{options.cifar100_labels}_labels" if "fine_labels" in content else "labels"
    pixels, labels = content.get("data"), content.get(key)
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != IMAGE_BYTES:
        raise UserError(
            f"{path}/{name}: data must be uint8 [N, {IMAGE_BYTES}], found "
            f"{getattr(pixels, 'shape', 'none')}; get the file again"
        )
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise UserError(
            f"{path}/{name}: {key} must hold one label for each of the {len(pixels)} images; "
            "get the file again"
        )
    append(batches.spool, np.ascontiguousarray(pixels).data)
    batches.names.extend(f"{name}[{row}]" for row in range(len(labels)))
    batches.labels.extend(labels)


def _class_names(meta: dict[str, Any], options: SourceOptions, path: Path) -> tuple[str, ...]:
    keys = [key for key in ("label_names", f"{options.cifar100_labels}_label_names") if key in meta]
    if "label_names" in meta and "cifar100_labels" in options.model_fields_set:
        raise UserError(
            f"--cifar100-labels: {path} is CIFAR-10, which has one kind; drop the option"
        )
    names = meta[keys[0]] if keys else None
    if not isinstance(names, list) or not names:
        raise UserError(f"{path}: its metadata name no classes; get the file again")
    return checked_class_names([plain_text(name) for name in names], str(path))


def _files(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and content of each file of the folder or archive."""
    if path.is_dir():
        for name in [*_SPLITS, *META]:
            if (path / name).is_file():
                with open_packed(path / name) as file:
                    yield name, (path / name).stat().st_size, file
        return
    with open_packed(path) as stream:
        for entry, tar in tar_entries(stream, path, "r|"):
            content = tar.extractfile(entry)
            assert content is not None  # as it would be of a folder
            yield entry.name.rpartition("/")[2], entry.size, content
