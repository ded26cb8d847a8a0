"""Files that are no networks, or no longer."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import DATA
from safetensors.torch import save_file

from torch_utils.checkpoint import load_tensors, save_tensors


def write_networks(folder: Path) -> None:
    """Network files and files of styles, by what is wrong with them."""
    whole = (folder / "net.safetensors").read_bytes()
    for name, content in {
        "cut": whole[:-1000],
        "cut-header": whole[:100],
        "no-bytes": b"",
        "text": b"Dear diary\n",
        "long-header": struct.pack("<Q", 2**60) + whole[8:],
        "no-json": struct.pack("<Q", 8) + b"{nothing" + whole,
    }.items():
        (folder / f"net-{name}.safetensors").write_bytes(content)
    _write_changed(folder)
    save_file({"x": torch.zeros(2)}, folder / "foreign.safetensors")
    _write_pickles(folder)
    _write_styles(folder)


def _write_changed(folder: Path) -> None:
    """The good network with something else in its metadata or tensors."""
    tensors, metadata = load_tensors(folder / "net.safetensors")
    config = json.loads(metadata["config"])

    def with_config(change: Callable[[dict[str, Any]], None]) -> dict[str, str]:
        copy = json.loads(metadata["config"])
        change(copy)
        return metadata | {"config": json.dumps(copy)}

    first = next(iter(tensors))
    changed: dict[str, tuple[dict[str, torch.Tensor], dict[str, str]]] = {
        "no-config": (tensors, {key: value for key, value in metadata.items() if key != "config"}),
        "no-nimg": (tensors, metadata | {"nimg": "many"}),
        "other-format": (tensors, metadata | {"format": "dudgan-99"}),
        "giant": (
            tensors,
            with_config(lambda c: c["generator"].update(channel_base=2**40, channel_max=2**40)),
        ),
        "giant-size": (
            tensors,
            with_config(lambda c: c["facts"].update(width=2**30, height=2**30)),
        ),
        "new-field": (tensors, with_config(lambda c: c.update(surprise=1))),
        "no-names": (tensors, with_config(lambda c: c["facts"].update(num_classes=-3))),
        "less": ({k: v for k, v in tensors.items() if k != first}, metadata),
        "more": (tensors | {"extra": torch.zeros(3)}, metadata),
        "reshaped": (tensors | {first: torch.zeros(7)}, metadata),
        "nan": (
            {k: v * float("nan") if v.is_floating_point() else v for k, v in tensors.items()},
            metadata,
        ),
    }
    assert config
    for name, (kept, facts) in changed.items():
        save_tensors(folder / f"net-{name}.safetensors", kept, facts)


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("the pickle ran",)


def _write_pickles(folder: Path) -> None:
    legacy = (DATA / "legacy_stylegan2ada.pkl").read_bytes()
    (folder / "legacy.pkl").write_bytes(legacy)
    (folder / "cut.pkl").write_bytes(legacy[: len(legacy) // 2])
    (folder / "text.pkl").write_text("Dear diary\n")
    (folder / "evil.pkl").write_bytes(pickle.dumps({"G_ema": _Evil()}))
    (folder / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    (folder / "other.pkl").write_bytes(pickle.dumps({"G_ema": 1, "D": 2}))
    torch.save({"model": torch.zeros(2)}, folder / "other.pt")


def _write_styles(folder: Path) -> None:
    np.save(folder / "w-small.npy", np.zeros((1, 2, 3), np.float32))
    np.save(folder / "w-nan.npy", np.full((1, 6, 16), np.nan, np.float32))
    np.save(folder / "w-objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(folder / "w-other.npz", v=np.zeros(3))
    np.save(folder / "w-text.npy", np.array(["a", "b"]))
    np.save(folder / "w-number.npy", np.float32(1))
    (folder / "w-cut.npz").write_bytes((folder / "w-other.npz").read_bytes()[:60])
