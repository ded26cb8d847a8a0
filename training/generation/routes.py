"""The stations that an interpolation passes: what the user asked for, or what is drawn for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dnnlib import UserError
from dnnlib.logs import logger
from training.config import DataFacts
from training.generation.conditions import ANYTHING, Condition, class_conditions, parse_conditions
from training.generation.synthesis import random_classes

Mode = Literal["class", "latent", "both"]
_NAMED_STATIONS = 4  # in the file name


@dataclass(frozen=True)
class Route:
    """The stations, each a seed and a condition."""

    seeds: tuple[int, ...]
    conditions: tuple[Condition, ...]


def plan_route(
    facts: DataFacts, mode: Mode, classes: Sequence[str] | None, seeds: Sequence[int] | None
) -> Route:
    """The stations for a mode; classes and seeds that are left open are drawn, classes reported.

    Raises `UserError` for a class that does not exist and for stations that do not fit the mode.
    """
    if mode == "latent":
        seeds = (0, 1) if seeds is None else tuple(seeds)
        if len(seeds) < 2:
            raise UserError(f"--seeds: --mode latent takes two or more, found {len(seeds)}")
        return Route(seeds, (_single_condition(facts, classes, seeds[0]),) * len(seeds))
    if facts.num_classes < 2:
        raise UserError(
            f"--mode {mode} passes from class to class, the network has "
            f"{facts.num_classes or 'none'}; use --mode latent"
        )
    chain = _chain(facts, mode, classes, seeds)
    if mode == "both":
        seeds = tuple(range(len(chain))) if seeds is None else tuple(seeds)
        if len(seeds) != len(chain):
            raise UserError(
                f"--seeds: --mode both takes a seed for each class, found {len(seeds)} seeds and "
                f"{len(chain)} classes"
            )
        return Route(seeds, chain)
    seeds = (0,) if seeds is None else tuple(seeds)
    if len(seeds) != 1:
        raise UserError(
            f"--seeds: --mode class keeps to one, found {len(seeds)}; use --mode both to change "
            "the latent too, or --grid to see several"
        )
    return Route(seeds * len(chain), chain)


def file_stem(route: Route, mode: Mode) -> str:
    """A name for files of this route, which tells its first stations."""
    if mode == "latent":
        stations = [f"seed{seed:04d}" for seed in route.seeds]
        stations = [part for part in (route.conditions[0].stem,) if part] + stations
    else:
        stations = [condition.stem for condition in route.conditions]
    if len(stations) > _NAMED_STATIONS:
        stations = [*stations[: _NAMED_STATIONS - 1], f"and{len(stations) - _NAMED_STATIONS + 1}"]
    return "-".join(["interpolation", *stations])


def _single_condition(facts: DataFacts, classes: Sequence[str] | None, seed: int) -> Condition:
    if classes is not None:
        chosen = parse_conditions(facts, classes)
        if len(chosen) != 1:
            raise UserError(f"--classes: --mode latent stays in one class, found {len(chosen)}")
        return chosen[0]
    if facts.num_classes == 0:
        return ANYTHING
    condition = class_conditions(facts)[random_classes(facts.num_classes, 1, seed)[0]]
    logger.info(f"No --classes: {condition.name}, drawn by seed {seed}")
    return condition


def _chain(
    facts: DataFacts, mode: Mode, classes: Sequence[str] | None, seeds: Sequence[int] | None
) -> tuple[Condition, ...]:
    if classes is not None:
        chosen = parse_conditions(facts, classes)
        if len(chosen) < 2:
            raise UserError(f"--classes: --mode {mode} takes two or more, found {len(chosen)}")
        return tuple(chosen)
    seeds = (0, 1) if seeds is None else seeds
    known = class_conditions(facts)
    drawn = random_classes(facts.num_classes, max(len(seeds), 2), seeds[0])
    names = " to ".join(known[label].name for label in drawn)
    logger.info(f"No --classes: {names}, drawn by seed {seeds[0]}")
    return tuple(known[label] for label in drawn)
