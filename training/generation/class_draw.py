"""Which class a seed shows where none is asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from torch_utils.seeding import derive_seed
from training.config import DataFacts
from training.generation.conditions import ANYTHING, Condition, class_conditions
from training.generation.synthesis import random_classes


def class_drawer(facts: DataFacts, counts: Sequence[int] = ()) -> Callable[[int], Condition]:
    """A function from seeds to what they show: a class, as often as `counts` has images of it.

    `counts`: one for each class, not all 0; without them all classes come equally often. Of a
    network without classes every seed shows `ANYTHING`.
    """
    known = class_conditions(facts)
    if not known:
        return lambda seed: ANYTHING
    if not counts:
        return lambda seed: known[random_classes(len(known), 1, seed)[0]]
    ends = list(accumulate(counts))
    return lambda seed: known[bisect_right(ends, derive_seed(seed, "label") % ends[-1])]
