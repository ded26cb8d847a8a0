"""Compile the CUDA C++ sources of this folder with NVRTC: no GPU, nvcc or CUDA headers needed."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).parent
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")  # what CI builds
OPTIONS = {"std": "c++17", "ptxas_options": ["-v"]}  # -v: resources of each kernel in the log

_INCLUDE = re.compile(r'^\s*#include\s+"([^"]+)"', re.MULTILINE)
_FUNCTION = re.compile(
    r"Compiling entry function '(?P<symbol>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)
_SHARED = re.compile(r"(\d+) bytes smem")


class KernelError(RuntimeError):
    """Kernels cannot be built or loaded; the message names cause and cure in one line."""


@dataclass(frozen=True)
class Resources:
    """What one thread (registers, local memory) and one block (shared memory) of a kernel take."""

    registers: int
    stack_bytes: int
    spill_bytes: int  # stores and loads
    shared_bytes: int


@dataclass(frozen=True)
class Compiled:
    """Machine code for one architecture, with the symbol and resources of each kernel by name."""

    cubin: bytes
    symbols: dict[str, str]
    resources: dict[str, Resources]


def load_package(name: str) -> Any:
    """Import a package that only machines with kernels need; `KernelError` where it cannot be."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise KernelError(
            f"the Python package {name} cannot be imported ({error}); {install_hint()}"
        ) from error


def install_hint() -> str:
    """The command that brings what kernels need, for the CUDA that torch is built for."""
    major = (torch.version.cuda or "13").split(".")[0]
    nvrtc = "nvidia-cuda-nvrtc-cu12" if major == "12" else f'"nvidia-cuda-nvrtc=={major}.*"'
    return f'run: pip install "cuda-core>=1.0" "cuda-bindings=={major}.*" {nvrtc}'


@cache
def compiler_version() -> tuple[int, int]:
    """NVRTC's version; `KernelError` where it cannot be loaded or is too new for torch's CUDA."""
    nvrtc = load_package("cuda.bindings.nvrtc")
    try:
        status, major, minor = nvrtc.nvrtcVersion()
    except Exception as error:  # the bindings raise what their loader of libraries raises
        raise KernelError(f"NVRTC cannot be loaded ({error}); {install_hint()}") from error
    if int(status) != 0:
        raise KernelError(f"NVRTC does not work ({status}); {install_hint()}")
    if torch.version.cuda is not None and major > int(torch.version.cuda.split(".")[0]):
        raise KernelError(
            f"NVRTC {major}.{minor} may compile what a driver for torch's CUDA "
            f"{torch.version.cuda} refuses; run: pip uninstall nvidia-cuda-nvrtc, then "
            f"{install_hint()}"
        )
    return major, minor


def supported_architectures() -> tuple[str, ...]:
    """Architectures that the installed NVRTC compiles for, such as `sm_90`."""
    compiler_version()
    _, numbers = load_package("cuda.bindings.nvrtc").nvrtcGetSupportedArchs()
    return tuple(f"sm_{number}" for number in numbers)


def source_files(source: str) -> dict[str, str]:
    """Text by name of `source`, a file of this folder, and of all that it includes from here."""
    texts: dict[str, str] = {}
    waiting = [source]
    while waiting:
        name = waiting.pop()
        if name not in texts:
            texts[name] = (FOLDER / name).read_text(encoding="utf-8")
            waiting.extend(_INCLUDE.findall(texts[name]))
    return texts


def digest(source: str, names: Sequence[str], arch: str) -> str:
    """Identifies a compilation: sources and includes, kernels, architecture, options, compiler."""
    identity = [source_files(source), list(names), arch, OPTIONS, compiler_version()]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def compile_kernels(source: str, names: Sequence[str], arch: str) -> Compiled:
    """Compile kernels of one source file for one architecture.

    Args:
        source: name of a `.cu` file of this folder.
        names: C++ name expressions of the kernels, such as `upfirdn<float, 4>`.
        arch: `sm_90` and the like.

    Raises `KernelError` with the compiler's log.
    """
    if arch not in supported_architectures():
        version = ".".join(map(str, compiler_version()))
        raise KernelError(
            f"NVRTC {version} does not compile for {arch}; {install_hint()} --upgrade"
        )
    core = load_package("cuda.core")
    options = core.ProgramOptions(name=source, arch=arch, include_path=str(FOLDER), **OPTIONS)
    log = io.StringIO()
    try:
        program = core.Program((FOLDER / source).read_text(encoding="utf-8"), "c++", options)
        code = program.compile("cubin", name_expressions=tuple(names), logs=log)
    except Exception as error:  # cuda-core raises its own, private, kinds
        raise KernelError(f"{source}: does not compile for {arch}: {error}") from error
    symbols = {name: _text(code.symbol_mapping[name]) for name in names}
    found = {match["symbol"]: _resources(match) for match in _FUNCTION.finditer(log.getvalue())}
    resources = {name: found[symbol] for name, symbol in symbols.items() if symbol in found}
    return Compiled(bytes(code.code), symbols, resources)


def _text(symbol: bytes | str) -> str:
    return symbol.decode() if isinstance(symbol, bytes) else symbol


def _resources(match: re.Match[str]) -> Resources:
    shared = _SHARED.search(match["rest"])
    return Resources(
        registers=int(match["registers"]),
        stack_bytes=int(match["stack"]),
        spill_bytes=int(match["stores"]) + int(match["loads"]),
        shared_bytes=int(shared[1]) if shared else 0,
    )
