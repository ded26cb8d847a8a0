"""Pictures one after the other, made in batches, each with how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from dnnlib.files import sha256_file
from dnnlib.logs import track
from training.generation.conditions import ANYTHING, Condition, as_tensor
from training.generation.manifest import Facts
from training.generation.plan import Item, Plan
from training.generation.synthesis import Synthesizer, latents, noise_seeds


@dataclass(frozen=True)
class Picture:
    """A picture and what is to be known of it."""

    stem: str  # of its file's name
    image: Tensor  # uint8 [C, H, W] on the CPU
    ws: Tensor  # float32 [num_ws, w_dim]
    condition: Condition
    facts: Facts


class Source(Protocol):
    """Where styles come from."""

    @property
    def plan(self) -> Plan:
        """Which pictures there are."""

    def styles(self, synthesizer: Synthesizer, items: Sequence[Item]) -> Tensor:
        """Styles of some of the plan, `[N, num_ws, w_dim]` on the generator's device."""

    def describe(self, item: Item) -> tuple[str, Facts]:
        """The stem of the picture's file name, and how it is made."""


class Seeded:
    """Latents by seed, mapped under conditions."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def styles(self, synthesizer: Synthesizer, items: Sequence[Item]) -> Tensor:
        """See `Source`."""
        generator = synthesizer.generator
        seeds, conditions = zip(*items, strict=True)
        return synthesizer.styles(
            latents(seeds, generator.z_dim), as_tensor(conditions, generator.c_dim)
        )

    def describe(self, item: Item) -> tuple[str, Facts]:
        """See `Source`."""
        seed, condition = item
        if condition is ANYTHING:
            return f"seed{seed:04d}", {"seed": seed}
        return f"seed{seed:04d}-{condition.stem}", {"seed": seed, "class": condition.name}


class Projected:
    """Styles float32 `[N, num_ws, w_dim]` of the file `path`, as they are."""

    def __init__(self, path: Path, ws: Tensor) -> None:
        self.plan = Plan(range(len(ws)), draw=lambda index: ANYTHING)
        self._path, self._ws, self._digest = path, ws, sha256_file(path)

    def styles(self, synthesizer: Synthesizer, items: Sequence[Item]) -> Tensor:
        """See `Source`."""
        device = synthesizer.generator.mapping.w_avg.device
        return self._ws[[index for index, _ in items]].to(device)

    def describe(self, item: Item) -> tuple[str, Facts]:
        """See `Source`."""
        index, _ = item
        return f"{self._path.stem}-{index:04d}", {"w": self._digest, "index": index}


def stream_pictures(
    source: Source, synthesizer: Synthesizer, common: Facts, batch: int
) -> Iterator[Picture]:
    """All pictures of `source` in order, about `batch` at a time, while showing progress.

    `common` facts are those of every picture.
    """
    plan = source.plan
    return track(_pictures(source, synthesizer, common, batch), "Generating", len(plan), "images")


def _pictures(
    source: Source, synthesizer: Synthesizer, common: Facts, batch: int
) -> Iterator[Picture]:
    plan, size = source.plan, synthesizer.whole_groups(batch)
    for first in range(0, len(plan), size):
        items = [plan[index] for index in range(first, min(first + size, len(plan)))]
        ws = source.styles(synthesizer, items)
        images = synthesizer.render(ws, noise_seeds([seed for seed, _ in items])).cpu()
        for item, image, w in zip(items, images, ws.cpu(), strict=True):
            stem, facts = source.describe(item)
            yield Picture(stem, image, w, item[1], {**facts, **common})
