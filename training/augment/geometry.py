"""General geometry: scaled, turned, stretched and moved in one resampling (ADA, appendix B)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torch_utils.ops.upfirdn2d import upfirdn2d
from training.augment.chance import Size, gate
from training.augment.config import Strengths
from training.augment.matrices import compose, rotate, scale, translate
from training.augment.pixels import mirror, mirror_pad
from training.augment.sampling import sample
from training.augment.wavelets import SYM6

SCALE_STD = 0.2  # of log2 of the scale, and of how much wider than high
TRANSLATION_STD = 0.125  # of the image size

_TAPS = len(SYM6)
# Where the filter's weight is centred, in taps. The filter is not symmetric: were its middle taken
# instead, an image turned over would move by 0.4 pixels.
_CENTRE = sum(i * tap for i, tap in enumerate(SYM6)) / sum(SYM6)
_PAD = _TAPS // 2  # pixels that the filters of both directions reach beyond the image
_MARGIN = 3  # pixels beyond the image that are filtered as they are, before mirroring takes over


def draw_geometry(count: int, size: Size, p: Tensor, strengths: Strengths) -> Tensor:
    """Where each point of a warped image comes from, float32 `[count, 3, 3]`.

    The matrices take homogeneous pixel coordinates about the image's centre, x right and y down.
    Each transform has probability p (a scalar) times its strength; they are exactly the identity
    where none was drawn. The two rotations, before and after stretching, share theirs: that at
    least one of them is used has that probability.
    """
    p_rotate = 1 - (1 - p * strengths.rotation).sqrt()
    scaled, stretched = (gate(count, p, s) for s in (strengths.scaling, strengths.stretching))
    before, after = gate(count, p_rotate, 1), gate(count, p_rotate, 1)
    moved = gate(count, p, strengths.translation)
    log_size, log_stretch = torch.randn(2, count, device=p.device) * SCALE_STD
    angles = (2 * torch.rand(2, count, device=p.device) - 1) * math.pi
    shift = torch.randn(2, count, device=p.device) * TRANSLATION_STD * moved
    shrink, narrow = (-log_size * scaled).exp2(), (-log_stretch * stretched).exp2()
    return compose(
        scale(shrink, shrink),
        rotate(angles[0] * before),
        scale(narrow, 1 / narrow),
        rotate(angles[1] * after),
        translate(-shift[0] * size.width, -shift[1] * size.height),
    )


def warp(images: Tensor, origins: Tensor, low_pass: Tensor) -> Tensor:
    """Resample `[N, C, H, W]` so that each point shows what lies at its origin (`draw_geometry`).

    As in the paper: twice the resolution by the wavelet filter `low_pass` (`SYM6`), bilinear
    sampling, and back by the same filter. Beyond its borders an image goes on as its mirror image,
    however far; that costs no memory, since it is the sampling points that are mirrored.
    """
    height, width = images.shape[2:]
    fine = upfirdn2d(mirror_pad(images, _PAD), low_pass, up=2, gain=4, flip_filter=True)
    x = _fine_positions(width, origins)
    y = _fine_positions(height, origins)[:, None]
    m = origins.to(images.dtype)[:, :, :, None, None]
    columns = _in_fine_image(m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2], width)
    rows = _in_fine_image(m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2], height)
    warped = sample(fine, torch.stack([columns, rows], dim=3))
    return upfirdn2d(warped, low_pass, down=2)


def _fine_positions(size: int, like: Tensor) -> Tensor:
    """Where the samples that are filtered to `size` pixels lie, in pixels about the centre."""
    samples = torch.arange(2 * size + _TAPS - 2, device=like.device)
    return (samples - (_TAPS - 1) + _CENTRE) / 2 - (size - 1) / 2


def _in_fine_image(positions: Tensor, size: int) -> Tensor:
    """Positions in pixels about the centre, mirrored where far outside, as `sample` takes them."""
    half = (size - 1) / 2
    mirrored = mirror(positions + half, size - 1) - half
    positions = torch.where(positions.abs() <= half + _MARGIN, positions, mirrored)
    fine_size = 2 * (size + 2 * _PAD) - _TAPS + 1
    return (4 * positions + _TAPS - 2 - 2 * _CENTRE) / (fine_size - 1)
