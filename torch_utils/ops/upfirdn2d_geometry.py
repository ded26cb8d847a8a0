"""Factors, paddings and sizes of `upfirdn2d`."""

from __future__ import annotations

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
    """The (x, y) axes; raises `ValueError` on a factor below 1."""
    up_x, up_y = parse_scale(up)
    down_x, down_y = parse_scale(down)
    x0, x1, y0, y1 = parse_padding(padding)
    return Axis(up_x, down_x, x0, x1), Axis(up_y, down_y, y0, y1)


def parse_scale(scale: Scale) -> tuple[int, int]:
    """(x, y) factors; raises `ValueError` below 1."""
    x, y = (scale, scale) if isinstance(scale, int) else scale
    if x < 1 or y < 1:
        raise ValueError(f"scale: at least 1, found {scale}")
    return x, y


def parse_padding(padding: Padding) -> tuple[int, int, int, int]:
    """(x0, x1, y0, y1) pixels."""
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) == 2:
        return padding[0], padding[0], padding[1], padding[1]
    x0, x1, y0, y1 = padding
    return x0, x1, y0, y1


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
