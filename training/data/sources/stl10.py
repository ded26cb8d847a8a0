"""STL-10's `train_X.bin`, `test_X.bin` and `unlabeled_X.bin`, with `*_y.bin` and `class_names.txt`.

Pixels are columns of the red, the green and the blue plane; classes are numbered from 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dnnlib import UserError
from dnnlib.logs import logger
from training.data.labels import Labels, checked_class_names, make_labels
from training.data.sources.pixels import PixelSource, map_pixels, numbers

SIDE = 96
IMAGE_BYTES = 3 * SIDE * SIDE


def open_stl10(path: Path) -> PixelSource:
    """The images of an `*_X.bin` file. Raises `UserError` for files that are not whole."""
    count, rest = divmod(path.stat().st_size, IMAGE_BYTES)
    if rest or not count:
        raise UserError(
            f"{path}: must hold images of {IMAGE_BYTES} bytes (STL-10, {SIDE}x{SIDE}), found "
            f"{path.stat().st_size} bytes; get the file again"
        )
    names = numbers(count)
    pixels = map_pixels(path, 0, (count, 3, SIDE, SIDE))
    return PixelSource(path, names, _find_labels(path, names), pixels, (2, 1, 0))


def _find_labels(path: Path, names: list[str]) -> Labels | None:
    labels = path.with_name(f"{path.name[: -len('_X.bin')]}_y.bin")
    if not labels.exists():
        logger.warning(f"{path}: no {labels.name} beside it; going on without classes")
        return None
    values = np.fromfile(labels, np.uint8)
    if len(values) != len(names):
        raise UserError(
            f"{labels}: must hold a label for each of the {len(names)} images of {path.name}, "
            f"found {len(values)}; get both again"
        )
    if not values.all():
        raise UserError(f"{labels}: must hold classes from 1, found 0; get the file again")
    listing = path.with_name("class_names.txt")
    class_names = listing.read_text("utf-8", "replace").split() if listing.exists() else None
    return make_labels(
        (values.astype(int) - 1).tolist(),
        names,
        str(labels),
        checked_class_names(class_names, str(listing)),
    )
