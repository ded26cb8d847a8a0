"""Resolutions: powers of two of a small base grid, which need not be square."""

from __future__ import annotations

from dataclasses import dataclass

from dnnlib import UserError


@dataclass(frozen=True)
class ResolutionGrid:
    """The feature sizes of a network, from the base grid up.

    `base` is (width, height) in pixels; level i is `base * 2^i` and carries the published name
    of the square case, `4 * 2^i`.
    """

    base: tuple[int, int]
    num_levels: int

    @property
    def names(self) -> list[int]:
        """4, 8, 16, ...: nominal resolutions, lowest first."""
        return [4 << level for level in range(self.num_levels)]

    def size(self, name: int) -> tuple[int, int]:
        """(height, width) of the level called `name`."""
        return self.base[1] * name // 4, self.base[0] * name // 4


def resolution_grid(width: int, height: int) -> ResolutionGrid:
    """The grid of a `width` x `height` picture: halved until a side would fall below 4.

    320x256 has base 5x4 and seven levels. Raises `UserError` where that leaves no base of 4 to 7
    pixels on the shorter side and at most 15 on the longer: no power-of-two scale of a small grid.
    """
    levels = 1
    while width % 2 == 0 and height % 2 == 0 and min(width, height) >= 8:
        width, height, levels = width // 2, height // 2, levels + 1
    if levels < 2 or not 4 <= min(width, height) <= 7 or max(width, height) > 15:
        scale = 2 ** (levels - 1)
        raise UserError(
            f"resolution {width * scale}x{height * scale}: each side must be a small number (4 to "
            "7, the longer side up to 15) times the same power of two, such as 32, 256 or 320x256; "
            "convert with dataset_tool.py --resolution"
        )
    return ResolutionGrid((width, height), levels)


def channels_at(name: int, channel_base: int, channel_max: int) -> int:
    """Feature maps at nominal resolution `name`: min(channel_base / name, channel_max)."""
    return max(min(channel_base // name, channel_max), 1)
