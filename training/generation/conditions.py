"""What images are asked to show: classes by name or number, and mixtures of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dnnlib import UserError
from training.config import DataFacts
from training.generation.class_names import file_names
from training.snapshots import class_index

ALL = "all"
MAX_WEIGHT = 10**6


@dataclass(frozen=True)
class Condition:
    """A class, a mixture of classes, or nothing in particular (without weights)."""

    name: str  # 'dog', 'dog:0.7+cat:0.3'
    stem: str  # the same as a file name can hold it
    weights: tuple[tuple[int, float], ...]  # class number, weight

    @property
    def label(self) -> int | None:
        """The number of the class, where it is one."""
        alone = len(self.weights) == 1 and self.weights[0][1] == 1
        return self.weights[0][0] if alone else None


ANYTHING = Condition("", "", ())  # of a network without classes


def class_conditions(facts: DataFacts) -> list[Condition]:
    """Each class of a network."""
    stems = file_names(facts.class_names)
    return [
        Condition(name, stem, ((label, 1.0),))
        for label, (name, stem) in enumerate(zip(facts.class_names, stems, strict=True))
    ]


def parse_conditions(facts: DataFacts, texts: Sequence[str]) -> list[Condition]:
    """The conditions that users call `texts`, in that order.

    A text is a class by name or number; 'all', which stands for every class; or a mixture such as
    'dog:0.7+cat:0.3', without weights in equal parts. Weights may be any numbers: they are the
    label vector. Raises `UserError` for a class that does not exist or a weight that is none.
    """
    classes = class_conditions(facts)
    chosen: list[Condition] = []
    for text in texts:
        stands_for_all = text == ALL and classes and ALL not in facts.class_names
        chosen += classes if stands_for_all else [_parse(facts, classes, text)]
    return chosen


def as_tensor(conditions: Sequence[Condition], c_dim: int) -> Tensor:
    """The label vectors that the mapping network takes, float32 `[N, c_dim]`."""
    c = torch.zeros(len(conditions), c_dim)
    for row, condition in zip(c, conditions, strict=True):
        for label, weight in condition.weights:
            row[label] = weight
    return c


def _parse(facts: DataFacts, classes: Sequence[Condition], text: str) -> Condition:
    if text in facts.class_names or not {":", "+"} & set(text):
        return classes[class_index(facts, text)]
    parts = [part.strip() for part in text.split("+")]
    if not all(parts):
        raise UserError(f"--class {text}: a mixture such as dog+cat has a class on both sides of +")
    terms = [_parse_term(facts, text, part) for part in parts]
    given = [weight for _, weight in terms if weight is not None]
    if 0 < len(given) < len(terms):
        raise UserError(f"--class {text}: give each class of a mixture its weight, or none of them")
    weights = [1 / len(terms) if weight is None else weight for _, weight in terms]
    labels = [label for label, _ in terms]
    if len(set(labels)) < len(labels):
        raise UserError(f"--class {text}: a mixture takes each class once")
    told = list(zip((classes[label] for label in labels), map(_plain, weights), strict=True))
    return Condition(
        name="+".join(f"{part.name}:{weight}" for part, weight in told),
        stem="_".join(f"{part.stem}-{weight}" for part, weight in told),
        weights=tuple(zip(labels, weights, strict=True)),
    )


def _parse_term(facts: DataFacts, text: str, part: str) -> tuple[int, float | None]:
    """Class number and weight (None: left out) of a part of the mixture `text`."""
    name, colon, weight = part.rpartition(":")
    if part in facts.class_names or not colon:
        return class_index(facts, part), None
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not abs(number) <= MAX_WEIGHT:
        raise UserError(
            f"--class {text}: weights are numbers up to {MAX_WEIGHT}, as in dog:0.7+cat:0.3, found "
            f"{weight!r:.80}"
        )
    return class_index(facts, name.strip()), number


def _plain(weight: float) -> str:
    return repr(weight).removesuffix(".0")
