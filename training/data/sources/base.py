"""What every source of images is to the conversion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.data.images import Pixels, decode_image
from training.data.labels import Labels, check_class_names


class Source(Protocol):
    """Images with names and labels; can be pickled, and used by several threads at once.

    Indices in ascending order are the fastest to fetch; any order works.
    """

    @property
    def names(self) -> Sequence[str]:
        """One for each image, unlike all others."""

    @property
    def labels(self) -> NDArray[np.int64] | NDArray[np.float64] | None:
        """Class indices int64 `[N]`, vectors float64 `[N, D]`, or None."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One for each class index, empty without class indices."""

    def where(self, index: int) -> str:
        """Image `index` in errors: the source and the name in it."""

    def fetch(self, index: int) -> bytes | Pixels:
        """Image `index` as the source holds it: the bytes of an image file, which may be broken,
        or pixels uint8 `[H, W, C]` of a source without image files.

        Raises `UserError` where it cannot be read.
        """

    def decode(self, index: int) -> Pixels:
        """Image `index`, uint8 `[H, W, C]`, of any size. Raises `UserError` where unreadable."""


class ForeignSource(ABC):
    """A `Source` at `path` that holds something else than a data set's files.

    Raises `UserError` for class names that are not UTF-8.
    """

    def __init__(self, path: str | Path, names: Sequence[str], labels: Labels | None) -> None:
        self.path = path
        self.names = names
        self.labels = None if labels is None else labels.values
        self.class_names = () if labels is None else labels.class_names
        check_class_names(path, self.class_names)

    @abstractmethod
    def fetch(self, index: int) -> bytes | Pixels:
        """Image `index` as the source holds it, see `Source`."""

    def where(self, index: int) -> str:
        """Image `index` in errors."""
        return f"{self.path}/{self.names[index]}"

    def decode(self, index: int) -> Pixels:
        """Image `index`, uint8 `[H, W, C]`. Raises `UserError` where it is unreadable."""
        held = self.fetch(index)
        return decode_image(held, self.where(index)) if isinstance(held, bytes) else held
