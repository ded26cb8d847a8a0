"""What the page asks for, in the terms of generate.py."""

from __future__ import annotations

from itertools import count
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dnnlib import Config, UserError
from training.config import DataFacts
from training.generation.class_draw import class_drawer
from training.generation.conditions import parse_conditions
from training.generation.plan import Plan
from training.generation.synthesis import StyleConfig
from training.networks.generator import NoiseMode
from training.snapshots import class_index

MAX_SEED = 2**32 - 1
MAX_SIDE = 8  # rows, and columns
MAX_PIXELS = 2**24  # of all pictures of an answer

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class Wish(Config):
    """Pictures of following seeds, all in the same style."""

    seed: int = Field(0, ge=0, le=MAX_SEED)  # of the first picture
    rows: Side = 1
    columns: Side = 1
    first_class: str = Field("", max_length=1000)  # name or number; empty: each seed draws its own
    second_class: str = Field("", max_length=1000)  # mixed with the first; empty: none
    mix: float = Field(0.5, ge=0, le=1)  # share of the second class
    trunc: float = Field(1.0, ge=0, le=1.5)
    trunc_center: Literal["global", "class"] = "global"
    noise_mode: NoiseMode = "const"

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.second_class and not self.first_class:
            raise ValueError("second_class: is mixed with a first_class, found none; give both")
        if self.seeds[-1] > MAX_SEED:
            raise ValueError(
                f"seed: {len(self.seeds)} seeds from {self.seed} on pass the last one, {MAX_SEED}; "
                "take a smaller one"
            )
        return self

    @property
    def seeds(self) -> range:
        """One for each picture, row by row."""
        return range(self.seed, self.seed + self.rows * self.columns)

    @property
    def style(self) -> StyleConfig:
        """How latents become images."""
        return StyleConfig(
            trunc=self.trunc, trunc_center=self.trunc_center, noise_mode=self.noise_mode
        )


def most_pictures(facts: DataFacts) -> int:
    """How many pictures of a network's size an answer may hold."""
    return max(min(MAX_PIXELS // (facts.width * facts.height), MAX_SIDE**2), 1)


def plan_wish(facts: DataFacts, wish: Wish) -> Plan:
    """The pictures that `wish` means. Raises `UserError` for a wrong class and for too many."""
    most = most_pictures(facts)
    if len(wish.seeds) > most:
        raise UserError(
            f"rows {wish.rows}, columns {wish.columns}: at most {most} pictures of "
            f"{facts.width}x{facts.height} fit on the page; take fewer"
        )
    text = class_argument(facts, wish)
    if text is not None:
        return Plan(wish.seeds, tuple(parse_conditions(facts, [text])))
    return Plan(wish.seeds, draw=class_drawer(facts, facts.class_counts))


def class_argument(facts: DataFacts, wish: Wish) -> str | None:
    """What generate.py's --class takes for `wish`; None: it is left out.

    Raises `UserError` for a class that does not exist.
    """
    if not wish.first_class:
        return None
    first = class_index(facts, wish.first_class)
    second = class_index(facts, wish.second_class) if wish.second_class else first
    share = round(wish.mix, 4)
    if first == second or share == 0:
        return _spelled(facts, first)
    if share == 1:
        return _spelled(facts, second)
    return f"{_spelled(facts, first)}:{round(1 - share, 4)}+{_spelled(facts, second)}:{share}"


def style_arguments(style: StyleConfig) -> list[str]:
    """Options of generate.py for `style`, without those that are its defaults."""
    return [
        word
        for name, default in StyleConfig().model_dump().items()
        if (value := getattr(style, name)) != default
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]


def _spelled(facts: DataFacts, index: int) -> str:
    """A class as --class takes it: by name, or by number where the name has signs that part it."""
    name = facts.class_names[index]
    if name == name.strip() and not {",", "+"} & set(name):
        return name
    numbers = (f"{index:0{digits}d}" for digits in count(1))
    return next(number for number in numbers if number not in facts.class_names)
