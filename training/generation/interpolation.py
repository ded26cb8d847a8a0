"""Videos that pass from class to class and from latent to latent: what interpolation.py does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from dnnlib import Config, UserError
from dnnlib.logs import logger, track
from torch_utils.world import choose_device
from training.config import DataFacts
from training.data.images import Pixels
from training.generation.journey import Easing, Journey, Space
from training.generation.load import ComputeConfig, make_synthesizer
from training.generation.manifest import Facts, common_facts
from training.generation.routes import Mode, Route, file_stem, plan_route
from training.generation.synthesis import StyleConfig
from training.generation.video import VideoFormat, check_video, usable_format, write_video
from training.pictures import make_grid, save_image
from training.snapshots import NetworkFile, load_network

MIN_VIDEO_SIDE = 256  # pixels; smaller videos are enlarged
MAX_VIDEO_SIDE = 8192  # pixels; what players take
STRIP_CELL = 64  # pixels of a picture in a strip, at least
MAX_STRIP_CELLS = 4096  # pictures


class InterpolationConfig(Config):
    """Which way through a network's latents and classes, and what it is written as."""

    network: str
    outdir: Path
    classes: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    mode: Mode = "class"
    space: Space = "w"
    easing: Easing = "smooth"
    loop: bool = False
    grid: tuple[int, int] = (1, 1)  # pictures side by side (columns, rows)
    seconds: Annotated[float, Field(gt=0)] = 4.0  # of each transition
    fps: Annotated[int, Field(ge=1)] = 30
    strip: Annotated[int, Field(ge=2)] | None = None  # steps of a picture beside the video
    style: StyleConfig
    format: VideoFormat = "mp4"
    batch: Annotated[int, Field(ge=1)] = 16
    device: str = "auto"
    compute: ComputeConfig = ComputeConfig()


def interpolate(config: InterpolationConfig) -> None:
    """Write the video, and the strip if asked for, into the output folder.

    Raises `UserError` for a network, class, device or folder that cannot be used.
    """
    device = choose_device(config.device)
    network = load_network(config.network)
    route = plan_route(network.facts, config.mode, config.classes, config.seeds)
    transitions = len(route.seeds) - (0 if config.loop else 1)
    num_frames = round(transitions * config.seconds * config.fps)
    if num_frames < 2:
        raise UserError(f"--seconds and --fps come to {num_frames} frames, a video takes two")
    _check_size(config, network.facts)
    stem = file_stem(route, config.mode)
    video_format = usable_format(config.format)
    path = config.outdir / (stem if video_format == "frames" else f"{stem}.{video_format}")
    check_video(path, video_format, config.fps)
    synthesizer = make_synthesizer(network, device, config.style, config.compute)
    journey = Journey(synthesizer, route, config.grid, config.space, config.loop)
    facts = _facts(config, network, route)
    factor = 1 if video_format == "frames" else _enlargement(config.grid, network.facts)
    frames = _frames(config, journey, num_frames, factor)
    shown = track(frames, "Interpolating", num_frames, "frames")
    write_video(shown, path, video_format, config.fps, json.dumps(facts))
    logger.info(f"{num_frames} frames, {num_frames / config.fps:.1f} s: {path}")
    if config.strip is not None:
        strip = config.outdir / f"{stem}-strip.png"
        save_image(strip, _strip(config, journey, config.strip), facts)
        logger.info(f"{config.strip} steps: {strip}")


def _enlargement(grid: tuple[int, int], facts: DataFacts) -> int:
    """How many times larger pictures are shown, for frames of `MIN_VIDEO_SIDE` pixels a side."""
    sides = grid[0] * facts.width, grid[1] * facts.height
    return max(min(math.ceil(MIN_VIDEO_SIDE / min(sides)), MAX_VIDEO_SIDE // max(sides)), 1)


def _frames(
    config: InterpolationConfig, journey: Journey, count: int, factor: int
) -> Iterator[Pixels]:
    """`count` frames, uint8 `[H, W, C]`, of pictures enlarged `factor` times."""
    generator = journey.synthesizer.generator
    min_cell = factor * min(generator.width, generator.height)
    for cells in journey.steps(count, config.easing, config.batch):
        yield make_grid(cells, config.grid[0], min_cell=min_cell)


def _strip(config: InterpolationConfig, journey: Journey, count: int) -> Pixels:
    """`count` steps at even distances side by side, a row for each cell of the grid."""
    steps = torch.stack(list(journey.steps(count, "linear", config.batch)))
    return make_grid(steps.transpose(0, 1).flatten(0, 1), count, min_cell=STRIP_CELL)


def _check_size(config: InterpolationConfig, facts: DataFacts) -> None:
    if facts.num_channels == 2:
        raise UserError("--network: makes pictures of 2 channels, videos have 1, 3 or 4")
    columns, rows = config.grid
    width, height = columns * facts.width, rows * facts.height
    if max(width, height) > MAX_VIDEO_SIDE:
        raise UserError(
            f"--grid: {columns}x{rows} pictures make frames of {width}x{height} pixels, at most "
            f"{MAX_VIDEO_SIDE} a side are allowed"
        )
    if config.strip is not None and config.strip * columns * rows > MAX_STRIP_CELLS:
        raise UserError(
            f"--strip: {config.strip} steps of {columns * rows} pictures each are too many, at "
            f"most {MAX_STRIP_CELLS} together are allowed"
        )


def _facts(config: InterpolationConfig, network: NetworkFile, route: Route) -> Facts:
    """How the video was made."""
    return {
        "seeds": list(route.seeds),
        "classes": [condition.name for condition in route.conditions if condition.name],
        "mode": config.mode,
        "space": config.space,
        "easing": config.easing,
        "loop": config.loop,
        "grid": "{}x{}".format(*config.grid),
        **common_facts(network, config.style, config.compute.precision),
    }
