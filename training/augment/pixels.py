"""Pixel blitting: images flipped, turned and moved by copying whole pixels (ADA, appendix B)."""

from __future__ import annotations

import torch
from torch import Tensor

from training.augment.chance import Size, gate
from training.augment.config import Strengths
from training.augment.matrices import compose, quarter_turn, scale, translate

MAX_TRANSLATION = 0.125  # of the image size, either way


def draw_blits(count: int, size: Size, p: Tensor, strengths: Strengths) -> Tensor:
    """Where each pixel of a blitted image comes from, float32 `[count, 3, 3]`.

    The matrices take homogeneous pixel coordinates about the image's centre, x right and y down,
    and are exact. Each transform has probability p (a scalar) times its strength.
    """
    used = [strengths.x_flip, strengths.quarter_turn, strengths.integer_translation]
    flipped, turned, moved = (gate(count, p, strength) for strength in used)
    flip = flipped * torch.randint(2, [count], device=p.device)
    turns = turned * torch.randint(4, [count], device=p.device)
    shift = (2 * torch.rand(2, count, device=p.device) - 1) * MAX_TRANSLATION * moved
    return compose(
        scale(1 - 2 * flip, torch.ones_like(flip)),
        quarter_turn(turns),
        translate((shift[0] * size.width).round(), (shift[1] * size.height).round()),
    )


def blit(images: Tensor, origins: Tensor) -> Tensor:
    """Copy each pixel of `[N, C, H, W]` from where `origins` of `draw_blits` says.

    Beyond its borders an image goes on as its mirror image. Where a turned image of odd proportions
    falls between pixels, the nearest to the upper left is copied.
    """
    height, width = images.shape[2:]
    across, down = (width - 1) / 2, (height - 1) / 2
    x = torch.arange(width, device=images.device) - across
    y = (torch.arange(height, device=images.device) - down)[:, None]
    m = origins[:, :, :, None, None]
    columns = (m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2] + across).floor().long()
    rows = (m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2] + down).floor().long()
    return copy_pixels(images, mirror(columns, width - 1), mirror(rows, height - 1))


def copy_pixels(images: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Pixels of `[N, C, H, W]` at int64 `columns` and `rows` `[N, H', W']`, inside the image."""
    n, c, _, width = images.shape
    places = (rows * width + columns).reshape(n, 1, -1).expand(-1, c, -1)
    return images.flatten(2).gather(2, places).reshape(n, c, *columns.shape[1:])


def mirror(positions: Tensor, last: int) -> Tensor:
    """Positions (any shape) folded into 0..last by reflection at both ends, as often as needed."""
    period = max(2 * last, 1)
    return last - (positions.remainder(period) - last).abs()


def mirror_pad(images: Tensor, margin: int) -> Tensor:
    """`[N, C, H, W]` with `margin` pixels more on every side, mirrored as often as it takes."""
    for axis in (2, 3):
        size = images.shape[axis]
        positions = torch.arange(-margin, size + margin, device=images.device)
        images = images.index_select(axis, mirror(positions, size - 1))
    return images
