"""Styles in files: what a projector finds, and what `generate.py --save-w` keeps."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dnnlib import UserError
from dnnlib.files import write_bytes

_KEY = "w"


def save_w(path: Path, ws: Tensor) -> None:
    """Write styles float32 `[N, num_ws, w_dim]` as `w` of an npz file, atomically."""
    buffer = io.BytesIO()
    np.savez(buffer, w=ws.cpu().numpy())
    write_bytes(path, buffer.getvalue())


def load_w(path: Path, num_ws: int, w_dim: int) -> Tensor:
    """Styles of a file, float32 `[N, num_ws, w_dim]`.

    npz and safetensors files hold them as `w`, npy files alone; one image's may be
    `[num_ws, w_dim]`, or `[w_dim]` for all layers. Raises `UserError` for a file that is missing
    or of another kind, and for styles that do not fit the network.
    """
    w = _read(path)
    single = w.ndim < 3
    if w.ndim == 1:
        w = w.expand(num_ws, -1)
    if single:
        w = w[None]
    if tuple(w.shape[1:]) != (num_ws, w_dim) or len(w) == 0:
        raise UserError(
            f"--projected-w {path}: the network takes styles of {num_ws} x {w_dim} numbers, found "
            f"{' x '.join(map(str, w.shape))}; use a file made with this network"
        )
    if not bool(w.isfinite().all()):
        raise UserError(f"--projected-w {path}: holds numbers that are not finite; make it again")
    return w.contiguous()


def _read(path: Path) -> Tensor:
    suffix = path.suffix.lower()
    try:
        if suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                stored: Tensor = file.get_tensor(_KEY)
                return stored.float()
        if suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return torch.from_numpy(archive[_KEY].astype(np.float32))
    except FileNotFoundError:
        raise UserError(f"--projected-w {path}: no such file") from None
    # Readers raise whatever they stumble over: BadZipFile, EOFError, SafetensorError, ...
    except Exception as error:
        raise UserError(
            f"--projected-w {path}: not a readable file of styles called {_KEY!r} ({error})"
        ) from None
    raise UserError(f"--projected-w {path}: takes a .npz, .npy or .safetensors file")
