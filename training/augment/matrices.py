"""Batches of homogeneous matrices, multiplied without matrix units.

A GPU may round the factors of a matrix product to ten bits (TF32); at the far side of a large image
that is off by a quarter of a pixel. Sums of products are not rounded, and identities stay exact.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor


def matrix(rows: list[list[Tensor | float]], like: Tensor) -> Tensor:
    """Float32 `[N, R, C]` from rows of entries, each `[N]` or a number, on the device of `like`."""
    entries = [
        entry if isinstance(entry, Tensor) else like.new_full(like.shape, entry)
        for row in rows
        for entry in row
    ]
    return torch.stack(entries, dim=-1).reshape(*like.shape, len(rows), len(rows[0]))


def compose(*matrices: Tensor) -> Tensor:
    """The product of matrices `[N, K, K]`: the last one acts first."""
    return reduce(_multiply, matrices)


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, :, None] * b[:, None, :, :]).sum(dim=2)


def is_identity(matrices: Tensor) -> Tensor:
    """Which of `[N, K, K]` are exactly the identity, bool `[N]`."""
    identity = torch.eye(matrices.shape[1], device=matrices.device)
    return (matrices == identity).flatten(1).all(dim=1)


def translate(x: Tensor, y: Tensor) -> Tensor:
    """Moves by (x, y) `[N]`, `[N, 3, 3]`."""
    return matrix([[1, 0, x], [0, 1, y], [0, 0, 1]], x)


def scale(x: Tensor, y: Tensor) -> Tensor:
    """Multiplies by (x, y) `[N]`, `[N, 3, 3]`."""
    return matrix([[x, 0, 0], [0, y, 0], [0, 0, 1]], x)


def rotate(angle: Tensor) -> Tensor:
    """Rotates by `angle` `[N]` in radians from the x axis to the y axis, `[N, 3, 3]`."""
    cos, sin = angle.cos(), angle.sin()
    return matrix([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], angle)


def quarter_turn(count: Tensor) -> Tensor:
    """Rotates `count` (whole numbers 0..3, `[N]`) times by 90 degrees, exactly, `[N, 3, 3]`."""
    odd = count.remainder(2)
    cos, sin = (1 - count) * (1 - odd), (2 - count) * odd
    return matrix([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], count)
