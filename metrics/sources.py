"""What is measured, as far as metrics need to know: scripts hand it over in these shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from metrics.images import RealImages


class RealSource(RealImages, Protocol):
    """A data set with its classes, if it has any."""

    @property
    def labels(self) -> Tensor:
        """Class of each image, int64 `[num_images]` on the CPU; of any value without classes."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One for each class; none without classes."""


class FakeSource(Protocol):
    """Images that a generator makes, or that another program has made.

    Image i is the same whoever asks for it, and together with whichever others.
    """

    @property
    def description(self) -> dict[str, Any]:
        """Provenance that JSON can hold: network digest, truncation, noise, seed, labels, ..."""

    @property
    def num_images(self) -> int | None:
        """How many there are; None: as many as are asked for."""

    def labels(self, indices: Sequence[int]) -> Tensor | None:
        """Class, as `RealSource` numbers them, of each of these images: int64 `[len(indices)]`.

        None where nobody knows, of any value without classes.
        """

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Tensor]:
        """The images `indices` in that order, uint8 `[n, C, H, W]`."""


class PathSource(Protocol):
    """A generator in its two steps, as `metrics.path_length` takes it."""

    @property
    def settings(self) -> dict[str, Any]:
        """What is other than in the description of the generated images: no truncation, ..."""

    @property
    def z_dim(self) -> int:
        """Length of a latent z."""

    @property
    def seed(self) -> int:
        """Draws the paths."""

    def labels(self, indices: Sequence[int]) -> Tensor:
        """Class of each of these paths, int64 `[len(indices)]`."""

    def mapping(self, z: Tensor, labels: Tensor) -> Tensor:
        """Styles w, float `[N, ...]`, of latents, float32 `[N, z_dim]` on the CPU."""

    def synthesis(self, ws: Tensor, indices: Sequence[int]) -> Tensor:
        """Images in about ±1, float `[N, C, H, W]`, of styles as `mapping` gives them.

        Equal indices see equal per-pixel noise.
        """


@dataclass(frozen=True)
class Subject:
    """Generated images and what they should be like."""

    reals: RealSource
    fakes: FakeSource
    paths: PathSource | None = None
    """None where there is no generator but images alone."""


@dataclass(frozen=True)
class Sample:
    """Features of images `[N, F]`, float32, and their classes, int64 `[N]`; both on the CPU."""

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def first(self, count: int) -> Sample:
        """The first `count` of the images."""
        return Sample(self.features[:count], self.labels[:count])

    def of_class(self, index: int) -> Sample:
        """The images of one class."""
        chosen = self.labels == index
        return Sample(self.features[chosen], self.labels[chosen])
