"""How much the generated images of a class differ: the collapse that class losses invite."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dnnlib.logs import logger

ALIKE = 0.4  # share of the real distance below which a class is reported


def pairwise_distances(images: Tensor, per_class: int) -> Tensor:
    """Mean distance between the images of each class, float32 `[classes]`.

    `images` uint8 `[classes * per_class, C, H, W]`, class by class, two or more of each; the
    distance is the root mean square over pixels, in 0..1.
    """
    pixels = images.float().flatten(1).reshape(-1, per_class, images[0].numel()) / 255
    total: Tensor = torch.cdist(pixels, pixels).sum(dim=[1, 2])
    return total / (per_class * (per_class - 1) * math.sqrt(pixels.shape[2]))


def diversity(fakes: Tensor, reals: Tensor) -> Tensor:
    """Distances of generated over those of real images, `[classes]`; nan where real ones are equal.

    Both are what `pairwise_distances` returns.
    """
    return torch.where(reals > 0, fakes / reals, torch.nan)


def warn_of_collapse(ratios: Tensor, class_names: tuple[str, ...]) -> None:
    """Name the classes whose images are too alike, the most alike first; `ratios` `[classes]`."""
    names = class_names or ("all",) * len(ratios)
    collapsed = sorted(
        (ratio, name) for ratio, name in zip(ratios.tolist(), names, strict=False) if ratio < ALIKE
    )
    if collapsed:
        ratio, name = collapsed[0]
        logger.warning(
            f"images of {len(collapsed)} of {len(ratios)} classes are becoming alike, of {name!r} "
            f"most: they differ {ratio:.2f} times as much as real ones; --contrast-g instance "
            "--contrast-c instance or a lower --gamma may help"
        )
