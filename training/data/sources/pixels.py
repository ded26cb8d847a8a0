"""Files of raw pixels, all images of one size, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.files import PerProcess
from training.data.images import Pixels
from training.data.labels import Labels
from training.data.sources.base import ForeignSource
from training.data.sources.unpack import Spool


class PixelSource(ForeignSource):
    """Images out of raw bytes, read when they are asked for.

    `pixels` is uint8 `[N, ...]`, mapped from a file; `axes` are those of an image in the order
    height, width, channels. `spool` is the temporary file that `pixels` lies in, if any.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        labels: Labels | None,
        pixels: PerProcess[NDArray[np.uint8]],
        axes: tuple[int, int, int],
        spool: Spool | None = None,
    ) -> None:
        super().__init__(path, names, labels)
        self._pixels = pixels
        self._axes = axes
        self._spool = spool

    def fetch(self, index: int) -> Pixels:
        """Image `index`, uint8 `[H, W, C]`."""
        return np.array(self._pixels()[index].transpose(self._axes), order="C")

    def where(self, index: int) -> str:
        """Image `index` in errors."""
        return f"{self.path}[{self.names[index]}]"


def map_pixels(
    path: Path, offset: int, shape: tuple[int, ...], fortran_order: bool = False
) -> PerProcess[NDArray[np.uint8]]:
    """uint8 of `shape` in the file at `path` from `offset` on, mapped by each process."""
    return PerProcess(
        partial(
            np.memmap,
            path,
            dtype=np.uint8,
            mode="r",
            offset=offset,
            shape=shape,
            order="F" if fortran_order else "C",
        )
    )


def numbers(count: int) -> list[str]:
    """'0', '1', ...: names for images without."""
    return [str(index) for index in range(count)]
