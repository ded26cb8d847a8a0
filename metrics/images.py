"""Where pictures come from, as far as metrics need to know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch


class RealImages(Protocol):
    """A data set."""

    @property
    def digest(self) -> str:
        """Names the pictures: equal digests, equal features."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of each."""

    @property
    def num_images(self) -> int:
        """How many there are, mirrored copies included."""

    @property
    def mirror(self) -> bool:
        """Whether each picture is also there mirrored left to right."""

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[torch.Tensor]:
        """The pictures `indices` (each below `num_images`) in that order, uint8 `[n, C, H, W]`."""


def fair_sample(num_images: int, count: int) -> list[int]:
    """`count` different indices below `num_images` in a fixed random order.

    Any first n of them are a fair sample too, where the data set itself is sorted by class.
    """
    assert count <= num_images
    indices: list[int] = np.random.default_rng(0).permutation(num_images)[:count].tolist()
    return indices
