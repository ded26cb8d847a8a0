"""Tensors of TorchScript files, without running the program inside.

Such a file is a zip: `data.pkl` describes the modules and their attributes, `data/KEY` is the raw
memory that their tensors lie in, `code/` is the program, which is not looked at.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from torch_utils.inert_pickle import (
    MAX_STEPS,
    STORAGE_TYPES,
    Global,
    Machine,
    Record,
    RefusedError,
    Storage,
    rebuild_tensor,
)


def is_torchscript(path: Path) -> bool:
    """Whether `path` is a zip with the program that `torch.jit.save` adds to tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2] == "constants.pkl" for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Tensors on the CPU by attribute name ('layers.conv.weight'), in the order of the modules.

    Raises `ValueError`, `LookupError`, `TypeError`, `RuntimeError`, `zipfile.BadZipFile` or
    `OSError` where the file is damaged or asks for anything else than tensors.
    """
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name.partition("/")[2] == "data.pkl"]
        if len(found) != 1:
            raise ValueError("no data.pkl")
        names = _Names(archive, found[0].removesuffix(".pkl"))
        root = Machine(BytesIO(archive.read(found[0])), names.find, MAX_STEPS, True).run()
        return dict(_tensors(root, ""))


class _Names:
    """What the names in a file's `data.pkl` mean."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self._archive, self._folder = archive, folder
        self._storages: dict[str, Storage] = {}

    def find(self, module: str, name: str) -> Global:
        """Tensors, and names without a meaning. Raises `RefusedError` for all others."""
        full = f"{module}.{name}"
        if full == "torch._utils._rebuild_tensor_v2":
            return Global(full, self._tensor)
        if module == "torch" and name in STORAGE_TYPES:
            return Global(full)
        if module.split(".", maxsplit=1)[0] != "__torch__" and module not in {
            "torch.jit._pickle",
            "collections",
        }:
            raise RefusedError(f"asks for {full!r:.80}")
        return Global(full, lambda *args: Record(full, args))

    def _tensor(self, storage: Record, *place: object) -> Tensor:
        _, kind, key, _, numel = storage.args
        if not isinstance(kind, Global) or not isinstance(key, str):
            raise TypeError("a storage without a type or a name")
        if key not in self._storages:
            dtype = STORAGE_TYPES[kind.name.removeprefix("torch.")]
            self._storages[key] = Storage(self._read(f"{self._folder}/{key}", dtype, numel))
        return rebuild_tensor(self._storages[key], *place)

    def _read(self, member: str, dtype: torch.dtype, numel: object) -> Tensor:
        """The elements `[numel]` of a member, which torch never compresses."""
        info = self._archive.getinfo(member)
        stored = info.compress_type == zipfile.ZIP_STORED
        if not stored or type(numel) is not int or info.file_size != numel * dtype.itemsize:
            raise ValueError("a storage of another length than it says")
        raw = bytearray(self._archive.read(member))
        return torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)


def _tensors(value: object, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Record) and isinstance(value.state, dict):
        for key, part in value.state.items():
            yield from _tensors(part, f"{name}.{key}".removeprefix("."))
