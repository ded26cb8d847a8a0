"""Scores within each class."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metrics.families import Family
from metrics.records import ClassScores
from metrics.sources import Sample


def class_scores(
    name: str, family: Family, real: Sample, fake: Sample, class_names: Sequence[str]
) -> tuple[ClassScores, ...]:
    """The values of a metric within each class, the worst first.

    `name` is the metric's, `real` and `fake` are images of all classes. A class with too few images
    for the metric has the value NaN and stands last.
    """
    scores = []
    for index, class_name in enumerate(class_names):
        ours, theirs = real.of_class(index), fake.of_class(index)
        enough = min(len(ours), len(theirs)) >= family.min_images
        nothing = (math.nan,) * len(family.parts + family.asides)
        results = family.results(name, family.compute(ours, theirs) if enough else nothing)
        scores.append(
            ClassScores(
                class_name=class_name, num_real=len(ours), num_fake=len(theirs), results=results
            )
        )
    return tuple(sorted(scores, key=lambda of_class: _badness(of_class, family)))


def mean_over_classes(scores: Sequence[ClassScores]) -> dict[str, float]:
    """Mean of each value over the classes that have one; NaN where none has."""
    found = [of_class.results for of_class in scores if _first(of_class) is not None]
    if not found:
        return dict.fromkeys(scores[0].results, math.nan)
    return {name: sum(results[name] for results in found) / len(found) for name in found[0]}


def class_doubts(
    family: Family, real: Sample, fake: Sample, class_names: Sequence[str]
) -> list[str]:
    """Why not to trust values within classes: one line, about the first class that is doubtful."""
    doubts = []
    for index, class_name in enumerate(class_names):
        ours, theirs = real.of_class(index), fake.of_class(index)
        if min(len(ours), len(theirs)) < family.min_images:
            few = f"{len(ours)} real and {len(theirs)} generated images are too few for a score"
            doubts.append(f"class {class_name}: {few}")
        else:
            doubts += [f"class {class_name}: {doubt}" for doubt in family.doubts(ours, theirs)[:1]]
    if len(doubts) > 1:
        doubts = [f"{doubts[0]} (one of {len(doubts)} such classes)"]
    return doubts


def _first(of_class: ClassScores) -> float | None:
    """The value that ranks classes."""
    value = next(iter(of_class.results.values()))
    return None if math.isnan(value) else value


def _badness(of_class: ClassScores, family: Family) -> tuple[bool, float]:
    value = _first(of_class)
    if value is None:
        return True, 0
    return False, -value if family.lower_is_better else value
