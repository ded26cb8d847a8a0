"""Pictures of a network by seed and class: what generate.py does."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from dnnlib import Config, UserError
from dnnlib.logs import logger
from torch_utils.world import choose_device
from training.config import DataFacts
from training.data.parallel import cpu_count, ordered_map
from training.generation.generated_data import write_data
from training.generation.load import ComputeConfig, make_synthesizer
from training.generation.manifest import Facts, Manifest, common_facts
from training.generation.picture_stream import Picture, Projected, Seeded, Source, stream_pictures
from training.generation.plan import Plan, plan_pictures
from training.generation.synthesis import StyleConfig
from training.generation.w_files import load_w, save_w
from training.pictures import MIN_CELL, PictureFormat, make_grid, save_image
from training.snapshots import NetworkFile, load_network

GRID_FILE = "grid.png"
MAX_GRID_PIXELS = 2**28


class GenerateConfig(Config):
    """Which pictures are made of which network, and where they go."""

    network: str
    outdir: Path | None = None  # a folder of pictures
    out: Path | None = None  # or a data set, a zip
    seeds: tuple[int, ...] = Field(min_length=1)
    classes: tuple[str, ...] | None = None  # None: each seed draws its class
    labels_of: Path | None = None  # a data set that says how often; None: all equally often
    projected_w: Path | None = None  # styles in the place of seeds and classes
    style: StyleConfig
    grid: bool = False
    save_w: bool = False
    format: PictureFormat = "png"
    batch: Annotated[int, Field(ge=1)] = 16
    device: str = "auto"
    compute: ComputeConfig = ComputeConfig()


def generate(config: GenerateConfig) -> None:
    """Make a picture for each seed and class, or for each style of a file.

    They go into a folder with `manifest.jsonl` and, if asked for, a grid and their styles, or into
    a data set. Raises `UserError` for a network, class, device or place that cannot be used, and
    for options that do not go together.
    """
    _check_options(config)
    device = choose_device(config.device)
    network = load_network(config.network)
    source = _source(config, network)
    if config.grid:
        _check_grid(len(source.plan), network.facts)
    synthesizer = make_synthesizer(network, device, config.style, config.compute)
    common = common_facts(network, config.style, config.compute.precision)
    pictures = stream_pictures(source, synthesizer, common, config.batch)
    if config.out is not None:
        write_data(config.out, pictures, network.facts, config.format, common)
    else:
        _write_folder(config, source.plan, pictures, common)


def list_classes(network: str) -> None:
    """Print number and name of each class of a network. Raises `UserError` without a network."""
    facts = load_network(network).facts
    if facts.num_classes == 0:
        logger.info(f"{network}: trained without classes")
    for number, name in enumerate(facts.class_names):
        logger.info(f"{number:>4}  {name}")


def _check_options(config: GenerateConfig) -> None:
    if (config.out is None) == (config.outdir is None):
        raise UserError(
            "give --outdir, a folder for pictures, or --out, a zip for a data set of them"
        )
    if config.out is not None and (config.grid or config.save_w):
        raise UserError("--grid and --save-w: go into a folder; give --outdir, not --out")
    if config.classes is not None and config.labels_of is not None:
        raise UserError("--labels-of: draws the classes, which --class says already; give one")
    if config.projected_w is not None:
        if config.classes is not None or config.labels_of is not None or config.out is not None:
            raise UserError("--projected-w: its styles have no classes; leave out --class, --out")
        if config.style.trunc != 1:
            raise UserError("--projected-w: its styles are taken as they are; leave out --trunc")


def _source(config: GenerateConfig, network: NetworkFile) -> Source:
    if config.projected_w is not None:
        generator = network.generator
        ws = load_w(config.projected_w, generator.num_ws, generator.mapping.w_dim)
        return Projected(config.projected_w, ws)
    return Seeded(plan_pictures(network.facts, config.seeds, config.classes, config.labels_of))


def _check_grid(count: int, facts: DataFacts) -> None:
    pixels = count * max(facts.width, MIN_CELL) * max(facts.height, MIN_CELL)
    if pixels > MAX_GRID_PIXELS:
        raise UserError(
            f"--grid: {count} images would make a picture of {pixels} pixels, at most "
            f"{MAX_GRID_PIXELS} are allowed; ask for fewer --seeds or classes"
        )


def _write_folder(
    config: GenerateConfig, plan: Plan, pictures: Iterable[Picture], common: Facts
) -> None:
    assert config.outdir is not None
    manifest, shown = Manifest(config.outdir), []
    write = partial(_write_picture, config.outdir, config.format, config.save_w)
    for file, picture in ordered_map(write, pictures, cpu_count()):
        manifest.add(file, picture.facts)
        if config.grid:
            shown.append(picture.image)
    if config.grid:
        grid = make_grid(torch.stack(shown), plan.columns, plan.row_captions(), heads=plan.heads())
        save_image(config.outdir / GRID_FILE, grid, common)
    made = f"{len(plan)} image{'' if len(plan) == 1 else 's'}"
    logger.info(f"{made}{f' and {GRID_FILE}' if config.grid else ''}: {config.outdir}")


def _write_picture(
    outdir: Path, picture_format: PictureFormat, with_w: bool, picture: Picture
) -> tuple[str, Picture]:
    """Write a picture, and its style if asked for; the name of its file, and the picture."""
    file = f"{picture.stem}.{picture_format}"
    save_image(outdir / file, picture.image.permute(1, 2, 0).numpy(), picture.facts)
    if with_w:
        save_w(outdir / f"{picture.stem}.npz", picture.ws[None])
    return file, picture
