"""Kernels by name: built and loaded at first use, then launched on torch's current stream.

An operator describes its work as a `Launch`: source file, C++ name of the kernel, grid and one
parameter struct that the kernel takes by value. `launch` runs it on a GPU; the tests run the same
description on a CPU.

A launch allocates nothing and does not synchronise, so that it can be captured in a CUDA graph.
A kernel may be launched for the first time inside a capture: it is loaded in relaxed capture mode.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from dnnlib.logs import logger
from torch_utils.ops.cuda.cache import cached_kernels
from torch_utils.ops.cuda.compiler import (
    KernelError,
    compiler_version,
    install_hint,
    load_package,
)

Implementation = Literal["auto", "torch", "cuda"]

CPP_TYPES = {  # as types.cuh names them
    torch.float16: "half_t",
    torch.bfloat16: "bfloat16_t",
    torch.float32: "float",
    torch.float64: "double",
}
PROBE = ("probe.cu", "probe")  # the smallest kernel: where it works, so do the others

Function = TypeVar("Function", bound=Callable[..., object])

_INVALID_CONTEXT = 201  # CUDA_ERROR_INVALID_CONTEXT


def _constant_when_compiled(function: Function) -> Function:
    """Let torch.compile call `function` once while it traces, instead of tracing through it.

    The mark is all that `torch.compiler.assume_constant_result` leaves; that one imports the whole
    compiler, which takes half as long again as all else that a script starts with.
    """
    function.__dict__["_dynamo_marked_constant"] = True
    return function


@dataclass(frozen=True)
class Launch:
    """One kernel launch.

    Attributes:
        source: `.cu` file of this folder.
        name: C++ name expression of the kernel, such as `bias_act<float, 4>`.
        grid, block: blocks, and threads of a block, along x, y and z.
        params: the kernel's only argument, passed by value; fields as in the C++ struct.
        shared_bytes: dynamic shared memory of a block, at most 48 KiB.
    """

    source: str
    name: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    params: ctypes.Structure
    shared_bytes: int = 0


@dataclass(frozen=True)
class LoadedKernel:
    """A kernel on one device: the driver's function, and the library object that owns it."""

    function: Any
    owner: Any


def launch(work: Launch, device: torch.device) -> None:
    """Run `work` on the current stream of `device`, a CUDA device.

    Raises `KernelError` where the kernel cannot be built, loaded or started.
    """
    index = device_index(device)
    driver = load_package("cuda.bindings.driver")
    pointers = (ctypes.c_void_p * 1)(ctypes.addressof(work.params))
    with torch.cuda.device(index):
        function = get_kernel(work.source, work.name, index).function
        stream = torch.cuda.current_stream(index).cuda_stream
        shape = (*work.grid, *work.block, work.shared_bytes)
        (status,) = driver.cuLaunchKernel(function, *shape, stream, ctypes.addressof(pointers), 0)
        if int(status) == _INVALID_CONTEXT:  # this thread has not used CUDA before
            _make_current(index)
            (status,) = driver.cuLaunchKernel(
                function, *shape, stream, ctypes.addressof(pointers), 0
            )
    if int(status) != 0:
        raise KernelError(f"{work.name}: cannot be launched ({status})")


@cache
def get_kernel(source: str, name: str, index: int) -> LoadedKernel:
    """The kernel on CUDA device `index`, built and loaded at the first call.

    Raises `KernelError`.
    """
    compiled = cached_kernels(source, [name], architecture(index))
    core, driver = load_package("cuda.core"), load_package("cuda.bindings.driver")
    try:
        with torch.cuda.device(index):
            _make_current(index)
            with _relaxed_capture(driver):
                code = core.ObjectCode.from_cubin(compiled.cubin)
                kernel = code.get_kernel(compiled.symbols[name])
                status, function = driver.cuKernelGetFunction(kernel.handle)
    except Exception as error:  # cuda-core raises private kinds of its own
        raise KernelError(f"{name}: {_refusal(error)}") from error
    if int(status) != 0:
        raise KernelError(f"{name}: {_refusal(status)}")
    return LoadedKernel(function, kernel)


def takes_kernels(x: Tensor, impl: Implementation) -> bool:
    """Whether an operator on `x` runs kernels: `auto` does where it can, `cuda` always.

    Raises `ValueError` on another `impl` or where `cuda` cannot be for this tensor, and
    `KernelError` where kernels cannot be built.
    """
    if impl not in ("auto", "torch", "cuda"):
        raise ValueError(f"impl: auto, torch or cuda, found {impl!r}")
    if impl == "cuda":
        if x.dtype not in CPP_TYPES:
            raise ValueError(f"impl: cuda takes {', '.join(map(str, CPP_TYPES))}, found {x.dtype}")
        require(x.device)
        return True
    return impl == "auto" and x.is_cuda and x.dtype in CPP_TYPES and available(x.device)


@_constant_when_compiled
def available(device: torch.device) -> bool:
    """Whether kernels can be built for and run on `device`.

    Where a CUDA device cannot have them, one warning names cause and cure.
    """
    cause = problem(device)
    if cause is not None and device.type == "cuda":
        _warn(cause)
    return cause is None


def require(device: torch.device) -> None:
    """Raise what keeps `device` from running kernels: `ValueError` for a device that is no GPU,
    otherwise `KernelError`."""
    if device.type != "cuda":
        raise ValueError(f"impl: cuda needs tensors on a CUDA device, found {device}")
    cause = problem(device)
    if cause is not None:
        raise KernelError(f"impl: cuda cannot be had: {cause}")


@_constant_when_compiled
def problem(device: torch.device) -> str | None:
    """Cause and cure, in a line, of why `device` runs no kernels; None where it does."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return "there is no CUDA device; check nvidia-smi and install a CUDA build of torch"
    return _device_problem(device_index(device))


@cache
def _device_problem(index: int) -> str | None:
    try:
        get_kernel(*PROBE, index)
    except KernelError as error:
        version = torch.version.cuda or "unknown"
        return f"{' '.join(str(error).split())} (torch is built for CUDA {version})"
    return None


@cache
def _warn(cause: str) -> None:
    logger.warning(f"CUDA kernels are off and plain torch operations run instead: {cause}")


def device_index(device: torch.device) -> int:
    """The number of a CUDA device, the current one where `device` names none."""
    return torch.cuda.current_device() if device.index is None else device.index


@cache
def architecture(index: int) -> str:
    """What to compile for on CUDA device `index`, such as `sm_90`."""
    major, minor = torch.cuda.get_device_capability(index)
    return f"sm_{major}{minor}"


def _make_current(index: int) -> None:
    """Give this thread the context that torch uses on device `index`."""
    load_package("cuda.core").Device(index).set_current()


@contextmanager
def _relaxed_capture(driver: Any) -> Iterator[None]:
    """Let this thread load code while a stream captures a CUDA graph."""
    relaxed = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    _, before = driver.cuThreadExchangeStreamCaptureMode(relaxed)
    try:
        yield
    finally:
        driver.cuThreadExchangeStreamCaptureMode(before)


def _refusal(reason: object) -> str:
    version = ".".join(map(str, compiler_version()))
    return (
        f"the driver does not load what NVRTC {version} compiles ({reason}); update the driver or "
        f"{install_hint()}"
    )
