"""Tell users what an archive holds, and check that all of it is sound."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnlib.logs import logger, track
from training.data.archive import ImageArchive, describe_shape
from training.data.labels import check_every_class
from training.data.parallel import ordered_map


def check_archive(path: str | Path, workers: int | None) -> None:
    """Read every image of the archive and log its size, channels, classes and digest.

    `workers` threads read, None takes one for each processor. Raises `UserError` for the first
    image that is unreadable or unlike the others, for labels that do not fit, and for a class
    without an image.
    """
    archive = ImageArchive(path)
    images = ordered_map(archive.read, range(len(archive)), workers or os.cpu_count() or 1)
    for _ in track(images, "Checking", len(archive), "images"):
        pass
    logger.info(f"{path}: {len(archive)} images, {describe_shape(archive.shape)}")
    if archive.labels is None:
        logger.info("no labels")
    elif archive.labels.ndim == 2:
        logger.info(f"labels are vectors of {archive.labels.shape[1]} numbers")
    else:
        counts = log_classes(archive.class_names, archive.labels)
        check_every_class(path, archive.class_names, counts)
    logger.info(f"digest {archive.digest()}")


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
