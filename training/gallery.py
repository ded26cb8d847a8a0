"""Pictures of a network by seed and class: what generate.py does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dnnlib import Config, UserError
from dnnlib.logs import logger, track
from torch_utils.world import choose_device
from training.class_names import chosen_classes, file_names
from training.config import DataFacts
from training.pictures import MIN_CELL, PictureFormat, make_grid, save_image
from training.snapshots import NetworkFile, load_network
from training.synthesis import StyleConfig, Synthesizer, random_classes

GRID_FILE = "grid.png"
MAX_GRID_PIXELS = 2**28


class GenerateConfig(Config):
    """Which pictures are made of which network."""

    network: str
    outdir: Path
    seeds: tuple[int, ...] = Field(min_length=1)
    classes: tuple[str, ...] | None = None  # None: each seed draws its class
    style: StyleConfig
    grid: bool = False
    format: PictureFormat = "png"
    batch: Annotated[int, Field(ge=1)] = 16
    device: str = "auto"


@dataclass(frozen=True)
class _Layout:
    """The pictures in their order, and how they stand in the grid."""

    seeds: list[int]
    labels: list[int]
    columns: int
    captions: list[str]  # of the grid's rows


def generate(config: GenerateConfig) -> None:
    """Write a picture for each seed and class into the output folder, and the grid if asked for.

    Raises `UserError` for a network, class, device or folder that cannot be used.
    """
    device = choose_device(config.device)
    network = load_network(config.network)
    layout = _lay_out(config, network.facts)
    if config.grid:
        _check_grid(layout, network.facts)
    synthesizer = Synthesizer(network.generator.to(device), config.style)
    made: list[Tensor] = []
    pictures = track(
        _pictures(synthesizer, layout, config.batch), "Generating", len(layout.seeds), "images"
    )
    names = file_names(network.facts.class_names)
    for picture, seed, label in zip(pictures, layout.seeds, layout.labels, strict=True):
        stem = f"seed{seed:04d}" + (f"-{names[label]}" if names else "")
        text = _description(config, network, seed, label)
        save_image(
            config.outdir / f"{stem}.{config.format}", picture.permute(1, 2, 0).numpy(), text
        )
        if config.grid:
            made.append(picture)
    if config.grid:
        grid = make_grid(torch.stack(made), layout.columns, layout.captions)
        save_image(config.outdir / GRID_FILE, grid, _description(config, network, None, None))
    extra = f" and {GRID_FILE}" if config.grid else ""
    logger.info(f"{len(layout.seeds)} images{extra}: {config.outdir}")


def list_classes(network: str) -> None:
    """Print number and name of each class of a network. Raises `UserError` without a network."""
    facts = load_network(network).facts
    if facts.num_classes == 0:
        logger.info(f"{network}: trained without classes")
    for number, name in enumerate(facts.class_names):
        logger.info(f"{number:>4}  {name}")


def _lay_out(config: GenerateConfig, facts: DataFacts) -> _Layout:
    seeds = list(dict.fromkeys(config.seeds))
    near_square = math.ceil(math.sqrt(len(seeds)))
    if config.classes is not None:
        classes = list(dict.fromkeys(chosen_classes(facts, config.classes)))
        return _Layout(
            seeds=seeds * len(classes),
            labels=[label for label in classes for _ in seeds],
            columns=len(seeds),
            captions=[facts.class_names[label] for label in classes],
        )
    if facts.num_classes == 0:
        return _Layout(seeds, [0] * len(seeds), near_square, [])
    logger.info("No --class: each seed draws its own, the file names tell which")
    labels = [random_classes(facts.num_classes, 1, seed)[0] for seed in seeds]
    return _Layout(seeds, labels, near_square, [])


def _check_grid(layout: _Layout, facts: DataFacts) -> None:
    pixels = len(layout.seeds) * max(facts.width, MIN_CELL) * max(facts.height, MIN_CELL)
    if pixels > MAX_GRID_PIXELS:
        raise UserError(
            f"--grid: {len(layout.seeds)} images would make a picture of {pixels} pixels, at most "
            f"{MAX_GRID_PIXELS} are allowed; ask for fewer --seeds or classes"
        )


def _pictures(synthesizer: Synthesizer, layout: _Layout, batch: int) -> Iterator[Tensor]:
    """uint8 `[C, H, W]` on the CPU, one after the other."""
    for first in range(0, len(layout.seeds), batch):
        labels = torch.tensor(layout.labels[first : first + batch])
        yield from synthesizer.pictures(layout.seeds[first : first + batch], labels).cpu()


def _description(
    config: GenerateConfig, network: NetworkFile, seed: int | None, label: int | None
) -> dict[str, str]:
    """How a picture was made, in words; without `seed` and `label` for the whole grid."""
    style = config.style
    text = {
        "network": network.digest,
        "trunc": f"{style.trunc:g}",
        "trunc-center": style.trunc_center,
        "noise-mode": style.noise_mode,
    }
    if seed is not None:
        text["seed"] = str(seed)
    if label is not None and network.facts.num_classes > 0:
        text["class"] = network.facts.class_names[label]
    return text
