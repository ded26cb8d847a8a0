"""Corruption: noise, and a hole (ADA, appendix B)."""

from __future__ import annotations

import torch
from torch import Tensor

from training.augment.chance import gate
from training.augment.color import split_transparency
from training.augment.config import Strengths

NOISE_STD = 0.1  # of the standard deviation of the noise, images being ±1


def add_noise(images: Tensor, p: Tensor, strengths: Strengths) -> Tensor:
    """Gaussian noise on the colours of `[N, C, H, W]`, of half-normal strength for each image."""
    colors, transparency = split_transparency(images)
    count = len(images)
    strength = torch.randn(count, device=p.device).abs() * NOISE_STD
    strength = (strength * gate(count, p, strengths.noise)).to(images.dtype)
    noisy = colors + torch.randn_like(colors) * strength[:, None, None, None]
    return torch.cat([noisy, transparency], dim=1)


def cut_out(images: Tensor, cut: Tensor) -> Tensor:
    """Blank (0) a box of half the width and height in those of `[N, C, H, W]` where `cut` is 1.

    `cut`: float `[N]`. The centre of the box is anywhere in the image, so that much of it may lie
    outside. Transparency is blanked too.
    """
    count, _, height, width = images.shape
    centre = torch.rand(2, count, 1, device=images.device)
    columns, rows = (
        ((torch.arange(size, device=images.device) + 0.5) / size - middle).abs() < 0.25
        for size, middle in ((width, centre[0]), (height, centre[1]))
    )
    hole = columns[:, None, None, :] & rows[:, None, :, None] & (cut > 0)[:, None, None, None]
    return images.masked_fill(hole, 0)
