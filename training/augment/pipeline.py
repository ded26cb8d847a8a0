"""The augmentation pipeline of ADA (Karras 2020, 2006.06676, appendix B) and its adaptation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_utils.ops.upfirdn2d import setup_filter
from training.augment.adaptive import AdaptiveProbability
from training.augment.chance import Size, gate
from training.augment.color import draw_colors, recolor
from training.augment.config import (
    BLIT,
    COLOR,
    GEOMETRY,
    AdaConfig,
    DiffAugmentConfig,
    Strengths,
)
from training.augment.corruption import add_noise, cut_out
from training.augment.diff_augment import DiffAugment
from training.augment.filtering import band_filters, draw_gains, filter_bands
from training.augment.geometry import draw_geometry, warp
from training.augment.matrices import compose, is_identity
from training.augment.pixels import blit, draw_blits
from training.augment.wavelets import SYM6


class AugmentPipeline(nn.Module):
    """Each transform of each image with a probability of p times its strength.

    At p = 0, and for each image that no transform was drawn for, the result is the image exactly.
    """

    low_pass: Tensor
    bands: Tensor

    def __init__(self, strengths: Strengths) -> None:
        super().__init__()
        self.strengths = strengths
        self.register_buffer("low_pass", setup_filter(SYM6), persistent=False)
        self.register_buffer("bands", band_filters(), persistent=False)

    def forward(self, images: Tensor, p: Tensor) -> Tensor:
        """Augmented images, of the shape and dtype of `images`.

        Args:
            images: `[N, C, H, W]` about ±1, any floating dtype (below float32 in between: float32).
            p: float32 scalar in 0..1 on the device of the images.

        Raises `ValueError` for other than 1 to 4 channels.
        """
        strengths, count = self.strengths, len(images)
        x = images.to(torch.promote_types(images.dtype, torch.float32))
        x = self._place(x, p)
        if strengths.uses(COLOR):
            x = recolor(x, draw_colors(count, p, strengths))
        if strengths.filtering > 0:
            x = filter_bands(x, draw_gains(count, p, strengths), self.bands)
        if strengths.noise > 0:
            x = add_noise(x, p, strengths)
        if strengths.cutout > 0:
            x = cut_out(x, gate(count, p, strengths.cutout))
        return x.to(images.dtype)

    def _place(self, images: Tensor, p: Tensor) -> Tensor:
        """Blitting and general geometry as one map; blitting alone copies pixels exactly."""
        strengths, count, size = self.strengths, len(images), Size(*images.shape[2:])
        blits = draw_blits(count, size, p, strengths)
        placed = blit(images, blits) if strengths.uses(BLIT) else images
        if not strengths.uses(GEOMETRY):
            return placed
        origins = draw_geometry(count, size, p, strengths)
        warped = warp(images, compose(blits, origins), self.low_pass)
        return torch.where(is_identity(origins)[:, None, None, None], placed, warped)


class AdaptiveAugment(nn.Module):
    """ADA: the pipeline, with a p that follows how often D is right on real images."""

    def __init__(self, config: AdaConfig) -> None:
        super().__init__()
        self.pipeline = AugmentPipeline(config.strengths)
        self.probability = AdaptiveProbability(config.target, config.ada_kimg, config.max_p)

    @property
    def p(self) -> Tensor:
        """The probability of a transform with strength 1 now, float32 scalar."""
        return self.probability.p

    def forward(self, images: Tensor) -> Tensor:
        """Images `[N, C, H, W]` about ±1 as D is to see them."""
        augmented: Tensor = self.pipeline(images, self.probability.p)
        return augmented

    def observe(self, real_logits: Tensor) -> None:
        """Take note of D's logits on real images `[N, 1]`."""
        self.probability.observe(real_logits)

    def observations(self) -> list[Tensor]:
        """What `observe` moves; equal on all processes once it is averaged over them."""
        return self.probability.observations()

    def advance(self, num_images: int) -> None:
        """Move p after `num_images` more images."""
        self.probability.move(num_images)


Augment = AdaptiveAugment | DiffAugment


def make_augment(config: AdaConfig | DiffAugmentConfig) -> Augment:
    """The module that `config` describes."""
    if isinstance(config, AdaConfig):
        return AdaptiveAugment(config)
    return DiffAugment(config)
