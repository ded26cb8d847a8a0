"""Perceptual path length (Karras et al., arXiv 1812.04948, section 4.1).

How fast the image changes along a path through latent space: with well separated factors of
variation it changes little and evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from metrics.detectors import PerceptualDistance
from metrics.sources import PathSource
from torch_utils.seeding import derive_seed
from torch_utils.tensor_cores import full_float32

# The part of an aligned portrait that is the face: top, bottom, left, right of height and width.
_FACE = (3 / 8, 7 / 8, 2 / 8, 6 / 8)
_MAX_SIZE = 256  # larger images are averaged down to about that many pixels a side
RESIZE = f"average-{_MAX_SIZE}"
_OUTLIERS = 0.01  # share at either end


@dataclass(frozen=True)
class PathConfig:
    """Which paths are measured, and how."""

    space: Literal["z", "w"]
    sampling: Literal["full", "end"]
    """`full`: anywhere on the path between two latents; `end`: where it begins."""
    crop: bool
    """Whether to look at the face of aligned portraits alone."""
    epsilon: float = 1e-4


@full_float32()
def path_lengths(
    generator: PathSource,
    distance: PerceptualDistance,
    config: PathConfig,
    indices: Sequence[int],
) -> Tensor:
    """d(g(t), g(t + ε)) / ε² for each path of `indices`, float32 `[len(indices)]` on the CPU.

    The path of an index is always the same one, between two latents of a class.
    """
    seeds = [derive_seed(generator.seed, "path", index) for index in indices]
    draws = [_draw(generator.z_dim, config, seed) for seed in seeds]
    start, end, t = (torch.stack(parts) for parts in zip(*draws, strict=True))
    here, there = _styles(generator, config, indices, start, end, t)
    images = [_prepare(generator.synthesis(ws, indices), config.crop) for ws in (here, there)]
    # On the CPU, since not every device has float64.
    return (distance(images[0], images[1]).cpu().double() / config.epsilon**2).float()


def mean_without_outliers(lengths: Tensor) -> float:
    """Mean of `lengths` `[N]` between their first and their last percentile, both included."""
    lowest = lengths.quantile(_OUTLIERS, interpolation="lower")
    highest = lengths.quantile(1 - _OUTLIERS, interpolation="higher")
    return lengths[(lengths >= lowest) & (lengths <= highest)].double().mean().item()


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation at `t` `[N, 1]` between the directions of `a` and `b` `[N, F]`.

    Shoemake 1985: along the great circle at even speed; unit length.
    """
    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    angle = (a * b).sum(dim=1, keepdim=True).clamp(-1, 1).acos()
    across = F.normalize(b - (a * b).sum(dim=1, keepdim=True) * a, dim=1)
    return a * (t * angle).cos() + across * (t * angle).sin()


def _draw(z_dim: int, config: PathConfig, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Both ends `[z_dim]` of a path and a place on it `[1]`, float64."""
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, z_dim, generator=generator).double()
    place = torch.rand(1, generator=generator).double()
    return start, end, place if config.sampling == "full" else torch.zeros_like(place)


def _styles(
    generator: PathSource,
    config: PathConfig,
    indices: Sequence[int],
    start: Tensor,
    end: Tensor,
    t: Tensor,
) -> tuple[Tensor, Tensor]:
    """Styles at `t` and at `t` + ε of the paths from `start` to `end`."""
    labels = generator.labels(indices)
    if config.space == "z":
        radius = generator.z_dim**0.5  # of latents, which a generator need not normalise
        here, there = ((radius * slerp(start, end, s)).float() for s in (t, t + config.epsilon))
        return generator.mapping(here, labels), generator.mapping(there, labels)
    first, last = (generator.mapping(z.float(), labels) for z in (start, end))
    share = t.to(first.device, first.dtype).reshape(-1, *[1] * (first.ndim - 1))
    return first.lerp(last, share), first.lerp(last, share + config.epsilon)


def compared_size(height: int, width: int, crop: bool) -> tuple[int, int]:
    """Height and width that images of this size have when their distance is taken."""
    rows, columns = _prepare(torch.empty(1, 1, height, width, device="meta"), crop).shape[2:]
    return rows, columns


def _prepare(images: Tensor, crop: bool) -> Tensor:
    """Images in about ±1 as a perceptual distance takes them: in 0..255, not too large."""
    if crop:
        height, width = images.shape[2:]
        top, bottom, left, right = _FACE
        rows = slice(int(height * top), int(height * bottom))
        images = images[:, :, rows, int(width * left) : int(width * right)]
    factor = min(images.shape[2:]) // _MAX_SIZE
    if factor > 1:
        images = F.avg_pool2d(images, factor)
    return (images + 1) * 127.5
