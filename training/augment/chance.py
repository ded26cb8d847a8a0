"""Who is transformed, and how large an image is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Size(NamedTuple):
    """Of an image, in pixels."""

    height: int
    width: int


def gate(count: int, p: Tensor, strength: float) -> Tensor:
    """1 with probability p · strength and 0 otherwise, float32 `[count]`."""
    return (torch.rand(count, device=p.device) < p * strength).float()
