"""Differentiable augmentation (DiffAugment, Zhao 2020, 2006.10738): every image, always."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.augment.color import split_transparency
from training.augment.config import DiffAugmentConfig, DiffTransform
from training.augment.corruption import cut_out
from training.augment.pixels import copy_pixels

MAX_TRANSLATION = 1 / 8  # of the image size, either way


class DiffAugment(nn.Module):
    """The transforms of a policy, one after the other, each at random for each image."""

    def __init__(self, config: DiffAugmentConfig) -> None:
        super().__init__()
        self.policy = config.policy

    def forward(self, images: Tensor) -> Tensor:
        """Augmented images, of the shape and dtype of `images`, `[N, C, H, W]` about ±1.

        Below float32 they are computed in float32. Raises `ValueError` for other than 1 to 4
        channels.
        """
        x = images.to(torch.promote_types(images.dtype, torch.float32))
        for name in self.policy:
            x = _TRANSFORMS[name](x)
        return x.to(images.dtype)

    def observe(self, real_logits: Tensor) -> None:
        """Nothing adapts to D's logits `[N, 1]`."""

    def observations(self) -> list[Tensor]:
        """There are none."""
        return []

    def advance(self, num_images: int) -> None:
        """Nothing moves."""


def vary_colors(images: Tensor) -> Tensor:
    """Brightness by -0.5..0.5, saturation by a factor 0..2, contrast by 0.5..1.5, all uniform.

    `images` `[N, C, H, W]` about ±1, C of 1 to 4. Saturation is about each pixel's mean over
    colours, contrast about each image's mean.
    """
    colors, transparency = split_transparency(images)
    u = torch.rand(3, len(images), 1, 1, 1, dtype=images.dtype, device=images.device)
    colors = colors + (u[0] - 0.5)
    grey = colors.mean(dim=1, keepdim=True)
    colors = grey + (colors - grey) * (2 * u[1])
    mean = colors.mean(dim=(1, 2, 3), keepdim=True)
    colors = mean + (colors - mean) * (u[2] + 0.5)
    return torch.cat([colors, transparency], dim=1)


def shift(images: Tensor) -> Tensor:
    """Move `[N, C, H, W]` by whole pixels, up to an eighth of the size; zeros (grey) come in."""
    count, _, height, width = images.shape
    columns, rows = (_shifted(size, count, images.device) for size in (width, height))
    columns, rows = columns[:, None, :], rows[:, :, None]
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    columns = columns.clamp(0, width - 1).expand(-1, height, -1)
    rows = rows.clamp(0, height - 1).expand(-1, -1, width)
    return copy_pixels(images, columns, rows).masked_fill(~inside[:, None], 0)


def _shifted(size: int, count: int, device: torch.device) -> Tensor:
    """Where each of `size` pixels comes from, int64 `[count, size]`, possibly outside."""
    reach = round(size * MAX_TRANSLATION)
    offsets = torch.randint(-reach, reach + 1, [count, 1], device=device)
    return torch.arange(size, device=device) - offsets


def cut_out_all(images: Tensor) -> Tensor:
    """Blank a box of half the size in each image of `[N, C, H, W]`."""
    return cut_out(images, torch.ones(len(images), device=images.device))


_TRANSFORMS: dict[DiffTransform, Callable[[Tensor], Tensor]] = {
    "color": vary_colors,
    "translation": shift,
    "cutout": cut_out_all,
}
