"""Tell users what a data set holds and what was left out of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnlib.logs import logger, printable

MAX_LISTED = 50
_NAMED = 3


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


def log_left_out(left_out: Iterable[tuple[str, str]]) -> None:
    """Warn of (name, reason) of images that were left out, in a line for each reason.

    A reason may begin with the name. Names and reasons are told up to a number that can be read.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in left_out:
        shown = printable(name)
        groups[reason.removeprefix(f"{shown}: ")].append(shown)
    for reason, names in [*groups.items()][:MAX_LISTED]:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        logger.warning(f"skipped: {', '.join(names[:_NAMED])}{more}: {reason}")
    unheard = sum(len(names) for names in [*groups.values()][MAX_LISTED:])
    if unheard:
        logger.warning(f"skipped: {unheard} more images")
