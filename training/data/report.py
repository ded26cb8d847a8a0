"""Tell users what a data set holds and what was left out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnlib.logs import logger

MAX_LISTED = 50


def log_classes(class_names: Sequence[str], labels: NDArray[Any]) -> list[int]:
    """Log a table of classes with their numbers of images, which are returned.

    `labels`: class indices, int64 `[N]`.
    """
    counts: list[int] = np.bincount(labels, minlength=len(class_names)).tolist()
    width = max(len("class"), *(len(name) for name in class_names))
    logger.info(f"{'index':>5}  {'class':<{width}}  {'images':>8}")
    for index, (name, count) in enumerate(zip(class_names, counts, strict=True)):
        logger.info(f"{index:>5}  {name:<{width}}  {count:>8}")
    return counts


def log_left_out(reasons: Sequence[str]) -> None:
    """Warn of each image that was left out, up to a number that can be read."""
    for reason in reasons[:MAX_LISTED]:
        logger.warning(f"skipped: {reason}")
    if len(reasons) > MAX_LISTED:
        logger.warning(f"skipped: {len(reasons) - MAX_LISTED} more images")
