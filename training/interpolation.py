"""Videos that pass from class to class and from latent to latent: what interpolation.py does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from dnnlib import Config, UserError
from dnnlib.logs import logger, track
from torch_utils.seeding import derive_seed
from torch_utils.world import choose_device
from training.class_names import chosen_classes, file_names
from training.config import DataFacts
from training.data.images import Pixels
from training.networks.layers import one_hot
from training.pictures import make_grid
from training.snapshots import load_network
from training.synthesis import StyleConfig, Synthesizer, latents, random_classes
from training.video import VideoFormat, check_video, write_video

Mode = Literal["class", "latent", "both"]
MIN_VIDEO_SIDE = 256  # pixels; smaller videos are enlarged
MAX_VIDEO_SIDE = 8192  # pixels; what players take
_NAMED_STATIONS = 4  # in the file name


class InterpolationConfig(Config):
    """Which way through a network's latents and classes, and what it is written as."""

    network: str
    outdir: Path
    classes: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    mode: Mode = "class"
    space: Literal["w", "z"] = "w"
    easing: Literal["linear", "smooth"] = "smooth"
    loop: bool = False
    grid: tuple[int, int] = (1, 1)  # pictures side by side (columns, rows)
    seconds: Annotated[float, Field(gt=0)] = 4.0  # of each transition
    fps: Annotated[int, Field(ge=1)] = 30
    style: StyleConfig
    format: VideoFormat = "mp4"
    batch: Annotated[int, Field(ge=1)] = 16
    device: str = "auto"


@dataclass(frozen=True)
class Route:
    """The stations that a picture passes, each a seed and a class (0 without classes)."""

    seeds: tuple[int, ...]
    labels: tuple[int, ...]


def interpolate(config: InterpolationConfig) -> None:
    """Write the video into the output folder.

    Raises `UserError` for a network, class, device, folder or encoder that cannot be used.
    """
    device = choose_device(config.device)
    network = load_network(config.network)
    route = plan_route(config, network.facts)
    transitions = len(route.seeds) - (0 if config.loop else 1)
    num_frames = round(transitions * config.seconds * config.fps)
    if num_frames < 2:
        raise UserError(f"--seconds and --fps come to {num_frames} frames, a video takes two")
    _check_grid(config.grid, network.facts)
    path = config.outdir / _file_name(config, route, network.facts)
    check_video(path, config.format, config.fps)
    synthesizer = Synthesizer(network.generator.to(device), config.style)
    frames = Journey(synthesizer, route, config).frames(num_frames)
    write_video(
        track(frames, "Interpolating", num_frames, "frames"), path, config.format, config.fps
    )
    logger.info(f"{num_frames} frames, {num_frames / config.fps:.1f} s: {path}")


def plan_route(config: InterpolationConfig, facts: DataFacts) -> Route:
    """The stations that `config` asks for; classes that it leaves open are drawn and reported.

    Raises `UserError` for a class that does not exist and for stations that do not fit the mode.
    """
    if config.mode == "latent":
        seeds = (0, 1) if config.seeds is None else config.seeds
        if len(seeds) < 2:
            raise UserError(f"--seeds: --mode latent takes two or more, found {len(seeds)}")
        return Route(seeds, (_single_class(config, facts, seeds[0]),) * len(seeds))
    if facts.num_classes < 2:
        raise UserError(
            f"--mode {config.mode} passes from class to class, the network has "
            f"{facts.num_classes or 'none'}; use --mode latent"
        )
    labels = _class_chain(config, facts)
    if config.mode == "both":
        seeds = tuple(range(len(labels))) if config.seeds is None else config.seeds
        if len(seeds) != len(labels):
            raise UserError(
                f"--seeds: --mode both takes a seed for each class, found {len(seeds)} seeds and "
                f"{len(labels)} classes"
            )
        return Route(seeds, labels)
    seeds = (0,) if config.seeds is None else config.seeds
    if len(seeds) != 1:
        raise UserError(
            f"--seeds: --mode class keeps to one, found {len(seeds)}; use --mode both to change "
            "the latent too, or --grid to see several"
        )
    return Route(seeds * len(labels), labels)


class Journey:
    """The frames of a route.

    Cell i of the grid follows the same classes, with its seeds raised by i times the span of the
    seeds: after seeds 0 and 1 the next cell has 2 and 3.
    """

    def __init__(self, synthesizer: Synthesizer, route: Route, config: InterpolationConfig) -> None:
        self._synthesizer, self._config = synthesizer, config
        generator = synthesizer.generator
        span = max(route.seeds) - min(route.seeds) + 1
        columns, rows = config.grid
        offsets = [cell * span for cell in range(columns * rows)]
        stations = list(zip(route.seeds, route.labels, strict=True))
        if config.loop:
            stations.append(stations[0])
        self._transitions = len(stations) - 1
        self._noise_seeds = [route.seeds[0] + offset for offset in offsets]
        z = [
            latents([seed + offset for offset in offsets], generator.z_dim) for seed, _ in stations
        ]
        labels = torch.tensor([label for _, label in stations])
        c = one_hot(labels, generator.c_dim)[:, None].expand(-1, len(offsets), -1)
        # Stations by cells: `[S, M, z_dim]`, `[S, M, c_dim]`, `[S, M, num_ws, w_dim]`.
        self._z, self._c = torch.stack(z), c
        ws = synthesizer.styles(self._z.flatten(0, 1), self._c.flatten(0, 1))
        self._ws = ws.reshape(len(stations), len(offsets), *ws.shape[1:])

    def frames(self, count: int) -> Iterator[Pixels]:
        """`count` frames, uint8 `[H, W, C]`, enlarged to `MIN_VIDEO_SIDE` unless they are files."""
        columns, rows = self._config.grid
        generator = self._synthesizer.generator
        smallest = min(columns * generator.width, rows * generator.height)
        enlarged = self._config.format != "frames"
        factor = math.ceil(MIN_VIDEO_SIDE / smallest) if enlarged else 1
        min_cell = factor * min(generator.width, generator.height)
        num_cells = columns * rows
        waiting: list[Tensor] = []
        for first in range(0, count * num_cells, self._config.batch):
            last = min(first + self._config.batch, count * num_cells)
            waiting += self._cells(torch.arange(first, last), count).cpu()
            while len(waiting) >= num_cells:
                yield make_grid(torch.stack(waiting[:num_cells]), columns, min_cell=min_cell)
                del waiting[:num_cells]

    def _cells(self, indices: Tensor, num_frames: int) -> Tensor:
        """Pictures uint8 `[N, C, H, W]`; index i is cell `i % M` of frame `i // M`."""
        num_cells = self._z.shape[1]
        frame, cell = indices // num_cells, indices % num_cells
        # A loop's last frame stands one step before its first; else both ends are shown.
        steps = num_frames if self._config.loop else num_frames - 1
        position = frame.double() * self._transitions / steps
        station = position.long().clamp(max=self._transitions - 1)
        t = (position - station).float()
        if self._config.easing == "smooth":
            t = t * t * (3 - 2 * t)
        noise_seeds = [
            derive_seed(self._noise_seeds[i], "frame", f)
            for f, i in zip(frame.tolist(), cell.tolist(), strict=True)
        ]
        return self._synthesizer.render(self._styles(station, cell, t), noise_seeds)

    def _styles(self, station: Tensor, cell: Tensor, t: Tensor) -> Tensor:
        """Styles `[N, num_ws, w_dim]` at the share `t` of the way from `station` to the next."""
        if self._config.space == "w":
            ws, there = self._ws, self._ws.device
            start, end, t = station.to(there), (station + 1).to(there), t.to(there)
            cell = cell.to(there)
            return torch.lerp(ws[start, cell], ws[end, cell], t[:, None, None])
        z = slerp(self._z[station, cell], self._z[station + 1, cell], t[:, None])
        c = torch.lerp(self._c[station, cell], self._c[station + 1, cell], t[:, None])
        return self._synthesizer.styles(z, c)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Along the great circle from rows of `a` to rows of `b`, `[N, D]`, at `t` `[N, 1]` in 0..1.

    Shoemake 1985; straight where the directions are all but the same. Latents between two normal
    ones keep a likely length, which a straight line would cut short.
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1)[:, None].clamp(-1, 1)
    angle = torch.acos(cosine)
    straight = angle < 1e-3
    safe = torch.where(straight, 1.0, angle)
    curved = (torch.sin((1 - t) * safe) * a + torch.sin(t * safe) * b) / torch.sin(safe)
    return torch.where(straight, torch.lerp(a, b, t), curved)


def _check_grid(grid: tuple[int, int], facts: DataFacts) -> None:
    width, height = grid[0] * facts.width, grid[1] * facts.height
    if max(width, height) > MAX_VIDEO_SIDE:
        raise UserError(
            f"--grid: {grid[0]}x{grid[1]} pictures make frames of {width}x{height} pixels, at most "
            f"{MAX_VIDEO_SIDE} a side are allowed"
        )


def _single_class(config: InterpolationConfig, facts: DataFacts, seed: int) -> int:
    if config.classes is not None:
        labels = chosen_classes(facts, config.classes)
        if len(labels) != 1:
            raise UserError(f"--classes: --mode latent stays in one class, found {len(labels)}")
        return labels[0]
    if facts.num_classes == 0:
        return 0
    label = random_classes(facts.num_classes, 1, seed)[0]
    logger.info(f"No --classes: {facts.class_names[label]}, drawn by seed {seed}")
    return label


def _class_chain(config: InterpolationConfig, facts: DataFacts) -> tuple[int, ...]:
    if config.classes is not None:
        labels = chosen_classes(facts, config.classes)
        if len(labels) < 2:
            raise UserError(
                f"--classes: --mode {config.mode} takes two or more, found {len(labels)}"
            )
        return tuple(labels)
    seeds = (0, 1) if config.seeds is None else config.seeds
    labels = random_classes(facts.num_classes, max(len(seeds), 2), seeds[0])
    names = " to ".join(facts.class_names[label] for label in labels)
    logger.info(f"No --classes: {names}, drawn by seed {seeds[0]}")
    return tuple(labels)


def _file_name(config: InterpolationConfig, route: Route, facts: DataFacts) -> str:
    names = file_names(facts.class_names)
    if config.mode == "latent":
        stations = [f"seed{seed:04d}" for seed in route.seeds]
        prefix = ["interpolation", names[route.labels[0]]] if names else ["interpolation"]
    else:
        stations, prefix = [names[label] for label in route.labels], ["interpolation"]
    if len(stations) > _NAMED_STATIONS:
        stations = [*stations[: _NAMED_STATIONS - 1], f"and{len(stations) - _NAMED_STATIONS + 1}"]
    suffix = "" if config.format == "frames" else f".{config.format}"
    return "-".join(prefix + stations) + suffix
