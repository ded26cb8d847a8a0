"""Bilinear sampling that can be differentiated again and again with respect to the images.

It is linear in the images: its backward pass is its adjoint, whose backward pass it is in turn.
`torch.nn.functional.grid_sample` alone has no second derivative before torch 2.12, and keeps the
images in memory for a derivative in the grid that nobody needs here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_BILINEAR, _BORDER = 0, 1  # numbers of the modes among torch's operators


def sample(images: Tensor, grid: Tensor) -> Tensor:
    """Values of `[N, C, H, W]` at `grid` `[N, H', W', 2]`, `[N, C, H', W']`.

    The grid holds (x, y), -1 and 1 being the centres of the first and the last pixel; beyond them
    the border goes on. No gradient flows to the grid.
    """
    sampled: Tensor = _Sample.apply(images, grid)  # type: ignore[no-untyped-call]
    return sampled


class _Sample(torch.autograd.Function):
    """Reads the images at the grid."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, padding_mode="border", align_corners=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Spread.apply(gradient, grid, ctx.shape), None  # type: ignore[no-untyped-call]


class _Spread(torch.autograd.Function):
    """Adds values into images where `_Sample` reads them: its adjoint."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        unread = values.new_zeros([]).expand(shape)  # only the grid's gradient would depend on it
        images: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            values, unread, grid, _BILINEAR, _BORDER, True, [True, False]
        )[0]
        return images

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return sample(gradient, grid), None, None
