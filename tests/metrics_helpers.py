"""Tiny detectors, data sets and generators for the tests of metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from metrics.instruments import Instruments
from metrics.names import parse_metrics
from metrics.sources import Subject
from metrics.suite import Measurement, measure
from torch_utils.world import World

ALONE = World(torch.device("cpu"))
SHAPE = (3, 2, 2)  # of the images here
NUM_FEATURES = 12  # pixels of an image


@dataclass
class Pixels:
    """A detector whose features are the pixels, 0 to 1."""

    name: str = "pixels"
    digest: str = "ab" * 32
    resize: str = "none"
    precision: str = "fp32"
    num_features: int = NUM_FEATURES
    seen: int = 0

    def __call__(self, images: Tensor) -> Tensor:
        """`[N, 12]` of uint8 `[N, 3, 2, 2]`."""
        self.seen += len(images)
        return images.flatten(1).float() / 255


class PixelClasses(Pixels):
    """Takes bright pixels for classes."""

    def probabilities(self, features: Tensor) -> Tensor:
        """`[N, 12]`."""
        return (4 * features).softmax(dim=1)


@dataclass
class Reals:
    """A data set in memory."""

    images: Tensor
    labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    class_names: tuple[str, ...] = ()
    digest: str = "cd" * 32
    mirror: bool = False
    shape: tuple[int, int, int] = (32, 32, 3)  # that any metric takes, whatever the images have

    def __post_init__(self) -> None:
        if not self.class_names:
            self.labels = torch.zeros(len(self.images), dtype=torch.int64)

    @property
    def num_images(self) -> int:
        """How many there are."""
        return len(self.images)

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Tensor]:
        """The images `indices`."""
        return iter(self.images[list(indices)].split(batch_size))


@dataclass
class Fakes:
    """A generator of images in memory."""

    images: Tensor
    classes: Tensor | None = None
    description: dict[str, Any] = field(
        default_factory=lambda: {"network_digest": "ef" * 32, "trunc": 1.0}
    )

    @property
    def num_images(self) -> int:
        """How many there are."""
        return len(self.images)

    def labels(self, indices: Sequence[int]) -> Tensor | None:
        """Classes of `indices`."""
        return None if self.classes is None else self.classes[list(indices)]

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Tensor]:
        """The images `indices`."""
        return iter(self.images[list(indices)].split(batch_size))


def pictures(count: int, seed: int = 0, low: int = 0) -> Tensor:
    """Random images, uint8 `[count, 3, 2, 2]` in low..255."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)


def normal(count: int, features: int = 8, seed: int = 0) -> Tensor:
    """N(0, 1), float32 `[count, features]`."""
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


def measured(
    names: Sequence[str],
    reals: Reals,
    fakes: Fakes,
    detector: Pixels,
    batch_size: int = 64,
    per_class: bool = False,
    judge: Pixels | None = None,
) -> Measurement:
    """`measure` by this process alone; raises the first failure."""
    done = measure(
        parse_metrics(names),
        Subject(reals, fakes),
        Instruments(detector, detector, judge),
        ALONE,
        batch_size,
        per_class,
    )
    for _, error in done.failures:
        raise error
    return done
