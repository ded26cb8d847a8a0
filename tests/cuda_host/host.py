"""Kernels compiled for the host and run on CPU tensors, so that a machine without a GPU tests them.

kernels = HostKernels([work, ...])   # builds what these launches name, with g++
kernels.launch(work)                 # runs one of them; its pointers are those of CPU tensors
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import torch

from dnnlib.files import atomic_path
from torch_utils.ops.cuda.compiler import FOLDER, source_files
from torch_utils.ops.cuda.jit import Launch

SHIM = Path(__file__).parent / "cuda_host.h"
BUILD = Path(__file__).parents[2] / "build" / "cuda_host"
FLAGS = ["-std=c++17", "-O1", "-fPIC", "-shared", "-fno-strict-aliasing", "-ffp-contract=off"]
FLAGS += ["-Wno-unknown-pragmas"]
GUARD = 64  # elements before and after a guarded tensor

needs_host_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no host compiler")


class _Shape(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("falling", ctypes.c_int),
    )


class HostKernels:
    """Kernels as host functions: those that `launches` name built at once, others when needed."""

    def __init__(self, launches: Iterable[Launch]) -> None:
        names: dict[str, set[str]] = {}
        for work in launches:
            names.setdefault(work.source, set()).add(work.name)
        self._functions = {
            (source, name): function
            for source, wanted in names.items()
            for name, function in _build(source, sorted(wanted)).items()
        }

    def launch(self, work: Launch, falling: bool = False) -> None:
        """Run `work`; `falling` runs the threads of a block from the last to the first."""
        assert work.shared_bytes == 0, "kernels declare their shared memory statically"
        shape = _Shape(work.grid, work.block, falling)
        if (work.source, work.name) not in self._functions:
            self._functions[work.source, work.name] = _build(work.source, [work.name])[work.name]
        self._functions[work.source, work.name](ctypes.byref(shape), ctypes.byref(work.params))


def _build(source: str, names: Sequence[str]) -> dict[str, ctypes._NamedFuncPointer]:
    lines = [f'#include "{SHIM}"', f'#include "{FOLDER / source}"']
    lines += [
        f'extern "C" void launch_{i}(const Shape* shape, const void* params) '
        f"{{ run_kernel({name}, *shape, params); }}"
        for i, name in enumerate(names)
    ]
    text = "\n".join(lines) + "\n"
    identity = [text, SHIM.read_text(), *FLAGS, *source_files(source).values()]
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:24]
    library = BUILD / f"{Path(source).stem}-{digest}.so"
    if not library.exists():
        with atomic_path(library) as temporary:
            command = ["g++", *FLAGS, "-x", "c++", "-", "-o", str(temporary)]
            subprocess.run(command, input=text, text=True, check=True)
    loaded = ctypes.CDLL(str(library))
    return {name: loaded[f"launch_{i}"] for i, name in enumerate(names)}


def guarded(
    shape: Sequence[int], dtype: torch.dtype, memory_format: torch.memory_format, shift: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """A tensor full of nan inside a larger buffer of nan, and that buffer.

    `shift` moves the tensor by as many elements, off its 16-byte alignment.
    """
    model = torch.empty(tuple(shape), device="meta").contiguous(memory_format=memory_format)
    buffer = torch.full((model.numel() + 2 * GUARD + shift,), torch.nan, dtype=dtype)
    assert buffer.data_ptr() % 16 == 0
    view = buffer[GUARD + shift : GUARD + shift + model.numel()]
    return view.as_strided(model.shape, model.stride(), view.storage_offset()), buffer


def guards_hold(tensor: torch.Tensor, buffer: torch.Tensor) -> bool:
    """Whether nothing was written around a tensor made by `guarded`."""
    first = tensor.storage_offset()
    around = torch.cat([buffer[:first], buffer[first + tensor.numel() :]])
    return bool(around.isnan().all())
