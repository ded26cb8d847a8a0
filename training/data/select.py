"""Choose which images of a source to convert, before any is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnlib import UserError
from dnnlib.logs import logger
from training.data.labels import composed
from training.data.sources import Source


@dataclass(frozen=True)
class Selection:
    """`indices` into the source, int64 `[M]`, ascending; their `labels` (None: none), renumbered
    to `class_names`."""

    indices: NDArray[np.int64]
    labels: NDArray[np.int64] | NDArray[np.float64] | None
    class_names: tuple[str, ...]


def select(
    source: Source,
    classes: tuple[str, ...] | None,
    max_per_class: int | None,
    max_images: int | None,
) -> Selection:
    """Images of the named `classes`, numbered in that order, thinned out evenly to the limits.

    Raises `UserError` for a class that does not exist, and for `classes` or `max_per_class` where
    the source has no class indices.
    """
    labels, class_names = source.labels, source.class_names
    classes = None if classes is None else tuple(map(composed, classes))
    indices = np.arange(len(source.names))
    if classes is not None or max_per_class is not None:
        class_of = _class_indices(labels, "--classes" if classes else "--max-per-class")
        if classes is not None:
            class_of = _renumber(class_of, class_names, classes)
            labels, class_names = class_of, classes
        by_class = _split_by_class(class_of, len(class_names))
        indices = np.sort(np.concatenate([_spread(group, max_per_class) for group in by_class]))
    indices = _spread(indices, max_images)
    chosen = None if labels is None else labels[indices]
    if class_names and chosen is not None:
        _warn_of_empty_classes(class_names, chosen)
    return Selection(indices, chosen, class_names)


def _split_by_class(class_of: NDArray[np.int64], num_classes: int) -> list[NDArray[np.int64]]:
    """Ascending indices of the images of each class; those of class -1 are left out."""
    order = np.argsort(class_of, kind="stable")
    counts = np.bincount(class_of + 1, minlength=num_classes + 1)
    return np.split(order, np.cumsum(counts[:-1]))[1:]


def _warn_of_empty_classes(class_names: tuple[str, ...], labels: NDArray[Any]) -> None:
    """Training refuses such classes, so it is better to hear of them before the conversion."""
    counts = np.bincount(labels, minlength=len(class_names))
    empty = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if empty:
        logger.warning(
            f"{len(empty)} of {len(class_names)} classes have no image, the first is {empty[0]!r}; "
            "training by class needs all of them: add images, or leave classes out with --classes"
        )


def _spread(items: NDArray[np.int64], limit: int | None) -> NDArray[np.int64]:
    """`limit` items at even distances, so that sorted classes keep their shares; all if fewer."""
    if limit is None or limit >= len(items):
        return items
    return items[np.arange(limit) * len(items) // limit]


def _class_indices(labels: NDArray[Any] | None, flag: str) -> NDArray[np.int64]:
    if labels is None or labels.ndim != 1:
        found = "no labels" if labels is None else "vectors as labels"
        raise UserError(f"{flag}: needs data with classes, the source has {found}; drop the option")
    return labels.astype(np.int64)


def _renumber(
    class_of: NDArray[np.int64], class_names: tuple[str, ...], classes: tuple[str, ...]
) -> NDArray[np.int64]:
    """Class indices in the numbering of `classes`, -1 for classes left out."""
    for name in classes:
        if name not in class_names:
            known = ", ".join(class_names[:20]) + (", ..." if len(class_names) > 20 else "")
            raise UserError(f"--classes: there is no class {name!r}; the source has {known}")
        if classes.count(name) > 1:
            raise UserError(f"--classes: names {name!r} twice; name each class once")
    numbers = np.full(len(class_names), -1)
    for number, name in enumerate(classes):
        numbers[class_names.index(name)] = number
    return numbers[class_of]
