"""Which pictures of a network are made, and in what order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnnlib import UserError
from dnnlib.logs import logger
from training.captions import drawable
from training.config import DataFacts
from training.data.dataset import DataConfig, open_dataset
from training.generation.class_draw import class_drawer
from training.generation.conditions import Condition, parse_conditions

Item = tuple[int, Condition]  # a seed and what it is asked to show


@dataclass(frozen=True)
class Plan:
    """Every seed for each of `conditions`, or, with `draw`, once for the condition it draws."""

    seeds: Sequence[int]
    conditions: tuple[Condition, ...] = ()
    draw: Callable[[int], Condition] | None = None

    def __len__(self) -> int:
        return len(self.seeds) * (len(self.conditions) if self.draw is None else 1)

    def __getitem__(self, index: int) -> Item:
        row, column = divmod(index, len(self.seeds))
        seed = self.seeds[column]
        return seed, self.conditions[row] if self.draw is None else self.draw(seed)

    @property
    def columns(self) -> int:
        """Pictures in a row of the grid: all of a condition, or as many as there are rows."""
        count = len(self.seeds)
        return count if self.draw is None else math.ceil(math.sqrt(count))

    def row_captions(self) -> list[str]:
        """Names of the conditions, or the seeds of each row where those draw theirs."""
        if self.draw is None:
            return [_shown(condition) for condition in self.conditions if condition.name]
        rows = range(0, len(self.seeds), self.columns)
        return [_span(self.seeds[first : first + self.columns]) for first in rows]

    def heads(self) -> list[str]:
        """The seed of each column, where it has one."""
        return [str(seed) for seed in self.seeds] if self.draw is None else []


def plan_pictures(
    facts: DataFacts,
    seeds: Sequence[int],
    classes: Sequence[str] | None,
    labels_of: Path | None = None,
) -> Plan:
    """What `seeds` and `classes` ask for, repeated ones once.

    Without `classes` each seed draws one: in the proportions of the data set `labels_of`, or of the
    training data, or all equally often where the network file does not know those. Raises
    `UserError` for a class that does not exist, and for a data set that does not have the classes
    of the network.
    """
    seeds = list(dict.fromkeys(seeds))
    if classes is not None:
        return Plan(seeds, tuple(dict.fromkeys(parse_conditions(facts, classes))))
    counts = facts.class_counts if labels_of is None else _counts_in(labels_of, facts)
    if facts.num_classes > 0:
        where = "the training data" if labels_of is None else labels_of
        often = f"as often as in {where}" if counts else "all equally often"
        logger.info(f"No --class: each seed draws its own, {often}")
    return Plan(seeds, draw=class_drawer(facts, counts))


def _counts_in(path: Path, facts: DataFacts) -> Sequence[int]:
    """Images of each of the network's classes in a data set: by name, or else by number."""
    dataset = open_dataset(DataConfig(path=str(path)))
    if dataset.num_classes != facts.num_classes:
        raise UserError(
            f"--labels-of {path}: has {dataset.num_classes or 'no'} classes, the network has "
            f"{facts.num_classes or 'none'}; name the data it was trained on"
        )
    counts: list[int] = dataset.class_counts.tolist()
    by_name = dict(zip(dataset.class_names, counts, strict=True))
    if set(by_name) != set(facts.class_names):
        return counts
    return [by_name[name] for name in facts.class_names]


def _shown(condition: Condition) -> str:
    """The name, with the number of a class whose name the font cannot write."""
    plain = drawable(condition.name)
    readable = plain == condition.name or condition.label is None
    return plain if readable else f"{condition.label} {plain}"


def _span(seeds: Sequence[int]) -> str:
    """'3 to 5' for seeds that follow each other, otherwise all of them."""
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
