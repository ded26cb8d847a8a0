"""What `python -m torch_utils.ops` tells of the kernels: whether they build, and are right."""

from __future__ import annotations

import importlib.metadata
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_utils.ops.bias_act import Implementation, bias_act, modulated_bias_act
from torch_utils.ops.cuda import jit
from torch_utils.ops.cuda import upfirdn2d as upfirdn2d_kernels
from torch_utils.ops.cuda.bias_act import kernel_name
from torch_utils.ops.cuda.cache import kernel_dir
from torch_utils.ops.cuda.compiler import (
    ARCHITECTURES,
    KernelError,
    Resources,
    compile_kernels,
    compiler_version,
    load_package,
    supported_architectures,
)
from torch_utils.ops.filters import setup_filter
from torch_utils.ops.upfirdn2d import downsample2d, filter2d, upsample2d
from torch_utils.ops.upfirdn2d_geometry import Axis

LAYOUTS = (torch.contiguous_format, torch.channels_last)
TOLERANCE = {torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float32: 1e-5, torch.float64: 1e-12}
_TAPS = (1.0, 3.0, 3.0, 1.0)  # of the networks' resampling filter
_AXES = (  # up, down, and the blurs after a transposed convolution and before a strided one
    Axis(2, 1, 2, 1),
    Axis(1, 2, 1, 1),
    Axis(1, 1, 2, 1),
    Axis(1, 1, 2, 2),
)


@dataclass(frozen=True)
class Build:
    """Kernels of one source file compiled for one architecture."""

    source: str
    arch: str
    seconds: float
    resources: list[Resources]


@dataclass(frozen=True)
class Check:
    """An operator's kernels against the plain operations in float64, forward and backward."""

    operator: str
    dtype: torch.dtype
    error: float  # largest difference, relative to the largest number where that is above 1

    @property
    def passed(self) -> bool:
        """Whether the error is no more than rounding explains."""
        return self.error <= TOLERANCE[self.dtype]


def facts(device: torch.device | None) -> dict[str, str]:
    """Versions and places by name; `device` is the GPU, if any."""
    found = {"torch": f"{torch.__version__}, built for CUDA {torch.version.cuda or '(none)'}"}
    if device is None:
        found["GPU"] = "none"
    else:
        index = jit.device_index(device)
        found["GPU"] = f"{torch.cuda.get_device_name(index)}, {jit.architecture(index)}"
        found["driver"] = _driver()
    for package in ("cuda-core", "cuda-bindings"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    try:
        architectures = supported_architectures()
        version = ".".join(map(str, compiler_version()))
        found["NVRTC"] = f"{version}, compiles for {architectures[0]} to {architectures[-1]}"
    except KernelError as error:
        found["NVRTC"] = str(error)
    files = list(kernel_dir().glob("*.kernel"))
    size = sum(file.stat().st_size for file in files) / 2**20
    found["cache"] = f"{kernel_dir()}, {len(files)} files, {size:.1f} MiB"
    return found


def _driver() -> str:
    try:
        _, version = load_package("cuda.bindings.driver").cuDriverGetVersion()
    except KernelError as error:
        return str(error)
    return f"for CUDA {version // 1000}.{version % 1000 // 10}"


def network_kernels() -> dict[str, list[str]]:
    """By source file, the kernels that the networks launch, in every dtype and layout."""
    bias_act_names = [
        kernel_name(dtype, act, order, terms, channels_last)
        for dtype, act in itertools.product(jit.CPP_TYPES, ("linear", "lrelu"))
        for order, terms, channels_last in (
            (0, "Bias", False),
            (0, "Bias", True),
            (0, "Modulated", False),
            (0, "Modulated", True),
            (1, "None", False),
        )
    ]
    upfirdn2d_names: dict[str, None] = {}
    f = setup_filter(_TAPS)
    for dtype, layout, axis in itertools.product(jit.CPP_TYPES, LAYOUTS, _AXES):
        x = torch.empty(1, 16, 64, 64, dtype=dtype).contiguous(memory_format=layout)
        upfirdn2d_kernels.upfirdn2d(
            x, f, axis, axis, False, 1.0, lambda work, _: upfirdn2d_names.update({work.name: None})
        )
    return {"bias_act.cu": bias_act_names, "upfirdn2d.cu": list(upfirdn2d_names)}


def builds(device: torch.device | None) -> Iterator[Build]:
    """Compile the networks' kernels for the GPU, or without one for all architectures.

    Raises `KernelError`.
    """
    present = () if device is None else (jit.architecture(jit.device_index(device)),)
    kernels = network_kernels().items()
    for (source, names), arch in itertools.product(kernels, present or ARCHITECTURES):
        start = time.perf_counter()
        compiled = compile_kernels(source, names, arch)
        seconds = time.perf_counter() - start
        yield Build(source, arch, seconds, list(compiled.resources.values()))


Operator = Callable[[Tensor, Implementation], Tensor]


def operators() -> dict[str, Operator]:
    """The operators to check, of images `[N, C, H, W]`, by name; they take parts of the images for
    bias, scale and noise."""
    f = setup_filter(_TAPS)

    def first(x: Tensor) -> Tensor:
        return x.detach()[:, :, 0, 0]

    return {
        "bias_act": lambda x, impl: bias_act(x, first(x)[0], act="lrelu", impl=impl),
        "bias_act, swish": lambda x, impl: bias_act(x, first(x)[0], act="swish", impl=impl),
        "modulated_bias_act": lambda x, impl: modulated_bias_act(
            x, first(x)[0], scale=first(x), noise=x.detach()[:, :1], act="lrelu", impl=impl
        ),
        "upsample2d": lambda x, impl: upsample2d(x, f.to(x.device), impl=impl),
        "downsample2d": lambda x, impl: downsample2d(x, f.to(x.device), impl=impl),
        "filter2d": lambda x, impl: filter2d(x, f.to(x.device), impl=impl),
    }


def checks(device: torch.device, impl: Implementation = "cuda") -> Iterator[Check]:
    """Run each operator with `impl` on random images in every dtype and layout."""
    for (name, operator), dtype in itertools.product(operators().items(), jit.CPP_TYPES):
        errors = []
        for layout in LAYOUTS:
            x = torch.randn(3, 16, 40, 24, device=device, dtype=dtype)
            x = x.contiguous(memory_format=layout)
            found = _value_and_gradient(operator, x, impl)
            expected = _value_and_gradient(operator, x.double(), "torch")
            for actual, exact in zip(found, expected, strict=True):
                largest = max(1.0, exact.abs().max().item())
                errors.append((actual.double() - exact).abs().max().item() / largest)
        yield Check(name, dtype, max(errors))


def _value_and_gradient(
    operator: Operator, x: Tensor, impl: Implementation
) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = operator(x, impl)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    return y.detach(), gradient
