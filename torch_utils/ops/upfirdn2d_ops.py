"""`dudgan::upfirdn2d`, the operator that autograd, torch.compile and torch.export see.

    upfirdn2d(x, f, [up, down, before, after] along x, the same along y, flip_filter, gain)

runs plain tensor operations on CPU tensors and kernels on CUDA tensors. It is linear in x, and its
transpose is an upfirdn2d too: up and down change places, the filter is reversed and the padding
follows (`Axis.adjoint`). Derivatives of any order are thus calls of the same operator.

Mixed precision (autocast) does not narrow it: the result has the dtype of x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_utils.ops.cuda import upfirdn2d as kernels
from torch_utils.ops.cuda.bias_act import memory_format
from torch_utils.ops.filters import filter_size
from torch_utils.ops.resampling import resample
from torch_utils.ops.upfirdn2d_geometry import Axis

_NAME = "dudgan::upfirdn2d"
torch.library.define(
    _NAME,
    "(Tensor x, Tensor? f, SymInt[] axis_x, SymInt[] axis_y, bool flip_filter, float gain)"
    " -> Tensor",
)
upfirdn2d = torch.ops.dudgan.upfirdn2d.default


def _with_axes(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` on the operator's arguments, in which an axis is a list of numbers."""

    def call(
        x: Tensor, f: Tensor | None, axis_x: Sequence[int], axis_y: Sequence[int], *rest: Any
    ) -> Tensor:
        return function(x, f, Axis(*axis_x), Axis(*axis_y), *rest)

    return call


def _plain(x: Tensor, f: Tensor | None, axis_x: Axis, axis_y: Axis, *rest: Any) -> Tensor:
    y = _shape(x, f, axis_x, axis_y)
    if x.numel() == 0 or y.numel() == 0:
        return y.zero_()
    return y.copy_(resample(x, f, axis_x, axis_y, *rest))


def _shape(x: Tensor, f: Tensor | None, axis_x: Axis, axis_y: Axis, *_: Any) -> Tensor:
    taps_x, taps_y = filter_size(f)
    height, width = axis_y.output_size(x.shape[2], taps_y), axis_x.output_size(x.shape[3], taps_x)
    y = x.new_empty((x.shape[0], x.shape[1], height, width))
    return y.contiguous(memory_format=memory_format(x, 1))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, f, axis_x, axis_y, ctx.flip_filter, ctx.gain = inputs
    taps_x, taps_y = filter_size(f)
    ctx.axis_x = Axis(*axis_x).adjoint(x.shape[3], taps_x)
    ctx.axis_y = Axis(*axis_y).adjoint(x.shape[2], taps_y)
    ctx.save_for_backward(f)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    if ctx.needs_input_grad[1]:
        raise RuntimeError("f: kernels give no gradient to the filter; use impl='torch'")
    (f,) = ctx.saved_tensors
    dx = upfirdn2d(dy, f, ctx.axis_x, ctx.axis_y, not ctx.flip_filter, ctx.gain)
    return dx, None, None, None, None, None


torch.library.impl(_NAME, "cpu", _with_axes(_plain))
torch.library.impl(_NAME, "cuda", _with_axes(kernels.upfirdn2d))
torch.library.register_fake(_NAME, _with_axes(_shape))
torch.library.register_autograd(_NAME, _backward, setup_context=_save)
