"""Files of tensors that load without running code and are never half-written."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from dnnlib import UserError
from dnnlib.files import atomic_path, write_bytes

METADATA = "metadata"
# What zipfile and torch raise for a file that is not as they wrote it.
_DAMAGED = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors and string metadata as safetensors, atomically.

    Equal contents give equal bytes: safetensors orders its metadata at random, so it gets a single
    entry, JSON of all.
    """
    on_cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(on_cpu, {METADATA: json.dumps(dict(metadata), sort_keys=True)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (CPU) and metadata of a safetensors file.

    Raises `UserError` when there is no such file, or it is truncated or of another kind.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
        texts = {name: text for name, text in dict(metadata).items() if isinstance(text, str)}
        return tensors, texts
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (
        safetensors.SafetensorError,
        OSError,
        MemoryError,
        RecursionError,  # of JSON in JSON in JSON
        TypeError,
        ValueError,
    ) as error:
        raise UserError(
            f"{path}: not a readable safetensors file ({error}); get or make it again"
        ) from None


def save_state(path: Path, state: Mapping[str, Any], keep_previous: bool = True) -> None:
    """Write nested dicts of tensors and plain values, atomically.

    The file before becomes `path` with `.previous` behind its name, so that whatever happens there
    is a whole one; without `keep_previous` it is replaced, and an older one stays where it is.
    """
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            _save(dict(state), file)
        if keep_previous and path.exists():
            path.replace(previous_state_path(path))


def state_to_bytes(state: Mapping[str, Any]) -> bytes:
    """What `save_state` would write, for another process."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def state_from_bytes(data: bytes, device: torch.device) -> dict[str, Any]:
    """The opposite of `state_to_bytes`; as careful as `load_state`."""
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    return state


def _save(state: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:  # torch's own words for a write that failed
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def previous_state_path(path: Path) -> Path:
    """Where `save_state` keeps the state before the newest."""
    return path.with_name(path.name + ".previous")


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    """What `save_state` wrote; only tensors and plain values are unpickled (`weights_only`).

    Falls back to the previous file where the newest is missing, as after a crash between two
    renames. Raises `UserError` when neither is there, or the one to read is damaged or of another
    kind.
    """
    for candidate in (path, previous_state_path(path)):
        if candidate.is_file():
            try:
                return _load(candidate, device)
            except torch.OutOfMemoryError:
                raise
            except _DAMAGED:
                raise UserError(
                    f"{candidate}: not a readable training state, but damaged or of another kind; "
                    "remove it, and the run goes on from the state before it or begins anew"
                ) from None
    raise UserError(f"{path}: no such file; the run has no training state to resume from")


def _load(path: Path, device: torch.device) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):
        raise ValueError("not a zip")
    with zipfile.ZipFile(path) as file:
        # torch checks no checksum.
        if not all(map(_is_as_written, file.infolist())) or file.testzip() is not None:
            raise ValueError("damaged")
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


def _is_as_written(entry: zipfile.ZipInfo) -> bool:
    """Whether torch reads all of `entry`; otherwise it leaves numbers of a tensor unset."""
    is_folder = entry.external_attr & 0x10
    stored = entry.compress_type == zipfile.ZIP_STORED
    return stored and entry.file_size == entry.compress_size and not is_folder
