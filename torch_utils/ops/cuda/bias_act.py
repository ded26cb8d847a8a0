"""Launches of the kernels in bias_act.cu."""

from __future__ import annotations

import ctypes
import math
from typing import NamedTuple

import torch
from torch import Tensor

from torch_utils.ops.cuda.jit import CPP_TYPES, Launch

_SOURCE = "bias_act.cu"
_THREADS = 256
_VECTOR_BYTES = 16
_LARGEST_32_BIT = 2**31  # elements; beyond, indices take 64 bits


class Params(ctypes.Structure):
    """`BiasActParams` of bias_act.cu."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("dy", ctypes.c_void_p),
        ("ddz", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("out_reference", ctypes.c_void_p),
        ("b", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("noise", ctypes.c_void_p),
        ("size", ctypes.c_longlong),
        ("channels", ctypes.c_longlong),
        ("pixels", ctypes.c_longlong),
        ("noise_step", ctypes.c_longlong),
        ("alpha", ctypes.c_double),
        ("gain", ctypes.c_double),
        ("clamp", ctypes.c_double),
    )


class Spec(NamedTuple):
    """What is computed: `clamp(gain * act(z))`, channels along `dim`; see `bias_act`."""

    dim: int
    act: str
    alpha: float
    gain: float
    clamp: float | None


class Terms(NamedTuple):
    """What makes the argument z of x: `x * scale + noise + b`, all in x's dtype."""

    b: Tensor | None = None  # [channels]
    scale: Tensor | None = None  # [samples, channels]
    noise: Tensor | None = None  # [samples or 1, 1, height, width]

    def contiguous(self) -> Terms:
        """The same with what is there made contiguous."""
        return Terms(*(None if term is None else term.contiguous() for term in self))


def memory_format(x: Tensor, dim: int) -> torch.memory_format:
    """The layout in which kernels see `x` and give their results: channels last or contiguous."""
    if x.ndim != 4 or dim != 1 or x.is_contiguous():
        return torch.contiguous_format
    if x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def plan(
    outputs: tuple[Tensor, ...],
    x: Tensor,
    terms: Terms,
    spec: Spec,
    dy: Tensor | None = None,
    ddz: Tensor | None = None,
) -> Launch:
    """The launch that fills `outputs`.

    Args:
        outputs: y; with `dy` dz; with `ddz` too, the gradients of dy and of `x`.
        x: the input; in the derivatives the reference. At least one element.
        terms: contiguous.

    All tensors of x's shape have its dtype and the layout `memory_format(x, spec.dim)`.
    """
    order = (dy is not None) + (ddz is not None)
    channels, pixels = _channels_and_pixels(x, spec.dim)
    channels_last = pixels == 1 or memory_format(x, spec.dim) is torch.channels_last
    kind = "Bias" if terms.b is not None else "None"
    if terms.scale is not None or terms.noise is not None:
        kind = "Modulated"
    row = x.numel()  # elements in a row of memory that the terms treat alike
    if kind != "None":
        row = channels if channels_last else pixels
    width = _VECTOR_BYTES // x.element_size()
    along_rows = (terms.b, terms.scale) if channels_last else (terms.noise,)
    tensors = (x, *outputs, dy, ddz, *along_rows)  # what is read or written as vectors
    if row % width != 0 or any(_pointer(t) % _VECTOR_BYTES != 0 for t in tensors):
        width = 1
    per_block = _THREADS * width
    return Launch(
        source=_SOURCE,
        name=kernel_name(
            x.dtype,
            spec.act,
            order,
            kind,
            kind != "None" and channels_last,
            wide=x.numel() >= _LARGEST_32_BIT,
            vectors=width > 1,
        ),
        grid=((x.numel() + per_block - 1) // per_block, 1, 1),
        block=(_THREADS, 1, 1),
        params=_params(outputs, x, terms, spec, dy, ddz),
    )


def kernel_name(
    dtype: torch.dtype,
    act: str,
    order: int,
    terms: str,
    channels_last: bool = False,
    wide: bool = False,
    vectors: bool = True,
) -> str:
    """The C++ name of an instantiation.

    Args:
        order: 0 forward, 1 and 2 derivatives.
        terms: `None`, `Bias` or `Modulated`, what is added before the activation.
        channels_last: the layout; False where there are no terms.
        wide: 64-bit indices.
        vectors: 16 bytes a thread; otherwise one element.
    """
    index = "unsigned long long" if wide else "unsigned int"
    width = _VECTOR_BYTES // dtype.itemsize if vectors else 1
    layout = str(channels_last).lower()
    return (
        f"bias_act<{CPP_TYPES[dtype]}, {act.capitalize()}, {order}, {terms}, {layout}, {index}, "
        f"{width}>"
    )


def _params(
    outputs: tuple[Tensor, ...],
    x: Tensor,
    terms: Terms,
    spec: Spec,
    dy: Tensor | None,
    ddz: Tensor | None,
) -> Params:
    channels, pixels = _channels_and_pixels(x, spec.dim)
    noise = terms.noise
    return Params(
        x=x.data_ptr(),
        dy=_pointer(dy),
        ddz=_pointer(ddz),
        out=outputs[0].data_ptr(),
        out_reference=outputs[1].data_ptr() if len(outputs) > 1 else 0,
        b=_pointer(terms.b),
        scale=_pointer(terms.scale),
        noise=_pointer(noise),
        size=x.numel(),
        channels=channels,
        pixels=pixels,
        noise_step=0 if noise is None or len(noise) == 1 else noise[0].numel(),
        alpha=spec.alpha,
        gain=spec.gain,
        clamp=-1.0 if spec.clamp is None else spec.clamp,
    )


def _channels_and_pixels(x: Tensor, dim: int) -> tuple[int, int]:
    """Sizes of x seen as [samples, channels, pixels]."""
    return (x.shape[dim], math.prod(x.shape[dim + 1 :])) if x.ndim else (1, 1)


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
