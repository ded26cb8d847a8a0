"""MNIST's idx files: `train-images-idx3-ubyte.gz` and the labels beside it (also unpacked)."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import IO

import numpy as np

from dnnlib import UserError
from dnnlib.logs import logger
from training.data.labels import Labels, make_labels
from training.data.sources.pixels import PixelSource, map_pixels, numbers
from training.data.sources.unpack import lay_bare, open_packed

MAGIC = b"\0\0\x08"  # unsigned bytes; the number of dimensions follows
_IMAGES, _LABELS = 3, 1  # dimensions


def open_idx(path: Path) -> PixelSource:
    """The images of an idx3 file, with the labels of the idx1 file of the same name, if any.

    Raises `UserError` for files that are not whole or do not belong together.
    """
    plain, spool = lay_bare(path)
    with plain.open("rb") as file:
        shape = _read_header(file, _IMAGES, path)
    count, height, width = shape
    if 0 in shape:
        raise UserError(f"{path}: holds no image, its header says {list(shape)}; check it")
    offset = 4 + 4 * _IMAGES
    found, expected = plain.stat().st_size - offset, math.prod(shape)
    if found != expected:
        raise UserError(
            f"{path}: must hold {expected} bytes of pixels for {count} images of {width}x{height}, "
            f"found {found}; get the file again"
        )
    names = numbers(count)
    pixels = map_pixels(plain, offset, (count, height, width, 1))
    return PixelSource(path, names, _find_labels(path, names), pixels, (0, 1, 2), spool)


def _find_labels(path: Path, names: list[str]) -> Labels | None:
    """Labels in the file called like the one of the images."""
    base = path.name.removesuffix(".gz")
    wanted = base.replace("images", "labels").replace("idx3", "idx1")
    for candidate in (path.with_name(wanted + ".gz"), path.with_name(wanted)):
        if wanted != base and candidate.exists():
            with open_packed(candidate) as stream:
                (count,) = _read_header(stream, _LABELS, candidate)
                values = np.frombuffer(stream.read(count + 1), np.uint8)
            if len(values) != count or count != len(names):
                raise UserError(
                    f"{candidate}: must hold a label for each of the {len(names)} images of "
                    f"{path.name}, its header says {count} and it has {len(values)}; get both again"
                )
            return make_labels(values.tolist(), names, str(candidate))
    logger.warning(f"{path}: no labels beside it (looked for {wanted}); going on without classes")
    return None


def _read_header(file: IO[bytes], dimensions: int, path: Path) -> tuple[int, ...]:
    """The sizes that the header of an idx file tells."""
    head = file.read(4 + 4 * dimensions)
    if len(head) < 4 + 4 * dimensions or head[:4] != MAGIC + bytes([dimensions]):
        what = "images (idx3, unsigned bytes)" if dimensions == _IMAGES else "labels (idx1)"
        raise UserError(f"{path}: is not an idx file of {what}; give the right file")
    return struct.unpack(f">{dimensions}I", head[4:])
