"""Classes of a network as users name them, and as file names can hold them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from training.config import DataFacts
from training.snapshots import class_index

ALL = "all"
_MAX_LENGTH = 40  # characters of a class in a file name


def chosen_classes(facts: DataFacts, names: Sequence[str]) -> list[int]:
    """Class numbers of names or numbers; the name 'all' stands for every class.

    Raises `UserError` for a class that does not exist.
    """
    chosen: list[int] = []
    for name in names:
        stands_for_all = name == ALL and facts.num_classes > 0 and ALL not in facts.class_names
        chosen += range(facts.num_classes) if stands_for_all else [class_index(facts, name)]
    return chosen


def file_names(class_names: Sequence[str]) -> list[str]:
    """A different short name for each class, of letters, digits, '.', '_' and '-' only."""
    plain = [re.sub(r"[^\w.-]+", "_", name)[:_MAX_LENGTH] for name in class_names]
    if len({name.casefold() for name in plain}) == len(plain):
        return plain
    return [f"{number}-{name}" for number, name in enumerate(plain)]
