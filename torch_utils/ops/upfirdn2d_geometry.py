"""Factors, paddings and sizes of `upfirdn2d`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NamedTuple

Scale = int | Sequence[int]  # both axes, or [x, y]
Padding = int | Sequence[int]  # all sides, or [x, y], or [x0, x1, y0, y1]


class Axis(NamedTuple):
    """What `upfirdn2d` does along one axis.

    Output o reads input i through tap `i * up + before - o * down` of the reversed filter.
    """

    up: int
    down: int
    before: int  # padding at the up-sampled size, negative to crop
    after: int

    def output_size(self, size: int, taps: int) -> int:
        """Pixels that come out of `size` pixels; below 1 where the filter does not fit."""
        return (size * self.up + self.before + self.after - taps) // self.down + 1

    def adjoint(self, size: int, taps: int) -> Axis:
        """The transposed map of `size` pixels, when the taps are reversed too.

        `up` and `down` change places. In reverse order, tap k is tap `taps - 1 - k`, which fixes
        the padding before; the padding after brings back `size` pixels, also those that no output
        had read.
        """
        before = taps - 1 - self.before
        after = (size - 1) * self.up + taps - before - self.output_size(size, taps) * self.down
        return Axis(self.down, self.up, before, after)


IDENTITY = Axis(1, 1, 0, 0)


def parse_axes(up: Scale, down: Scale, padding: Padding) -> tuple[Axis, Axis]:
    """The (x, y) axes; raises `ValueError` as `parse_scale` and `parse_padding` do."""
    up_x, up_y = parse_scale(up)
    down_x, down_y = parse_scale(down)
    x0, x1, y0, y1 = parse_padding(padding)
    return Axis(up_x, down_x, x0, x1), Axis(up_y, down_y, y0, y1)


def parse_scale(scale: Scale) -> tuple[int, int]:
    """(x, y) factors; raises `ValueError` unless they are integers of at least 1."""
    factors = _integers(scale)
    if len(factors) != 2 or min(factors) < 1:
        raise ValueError(f"scale: an integer of at least 1 or such a pair [x, y], found {scale!r}")
    return factors[0], factors[1]


def parse_padding(padding: Padding) -> tuple[int, int, int, int]:
    """(x0, x1, y0, y1) pixels; raises `ValueError` unless they are integers, one, two or four."""
    sides = _integers(padding)
    if len(sides) == 2:
        sides = (sides[0], sides[0], sides[1], sides[1])
    if len(sides) != 4:
        raise ValueError(f"padding: an integer, [x, y] or [x0, x1, y0, y1], found {padding!r}")
    return sides[0], sides[1], sides[2], sides[3]


def _integers(given: int | Sequence[int]) -> tuple[int, ...]:
    """The integers of a list, (n, n) for one that stands for both axes, () for anything else."""
    try:
        numbers = given if isinstance(given, Sequence) else (given, given)
        return tuple(map(operator.index, numbers))
    except TypeError:
        return ()


def centred_padding(
    padding: Padding, taps: tuple[int, int], up: Scale = 1, down: Scale = 1
) -> list[int]:
    """`padding`, as [x0, x1, y0, y1], plus what keeps a filter of (x, y) `taps` centred.

    Along each axis `up` or `down` is 1; so many times the pixels come out, or one in so many.
    """
    sides = []
    for axis, size in zip(parse_axes(up, down, padding), taps, strict=True):
        sides.append(axis.before + (size + axis.up - axis.down) // 2)
        sides.append(axis.after + (size - axis.up - axis.down + 1) // 2)
    return sides
