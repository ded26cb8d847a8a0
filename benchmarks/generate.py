"""Images a second of generators: a loop over single images against batches.

python -m benchmarks.generate --resolutions 32,64 --out build/generate.json
python -m benchmarks.generate --cfg auto --resolutions 256 --device cuda --precision bf16 \
    --cuda-graphs

Networks are untrained: how fast they are does not depend on what they have learnt. Rounds of the
ways alternate, and of each the median counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch

from benchmarks.records import device_facts, put
from dnnlib import UserError
from dnnlib.cli import CONTEXT, NameList, run
from dnnlib.logs import logger
from torch_utils.world import choose_device
from training.config import DataFacts
from training.data.dataset import DataConfig
from training.generation.load import ComputeConfig, make_synthesizer
from training.generation.script_options import Number, compute_options
from training.generation.synthesis import StyleConfig, Synthesizer, latents
from training.networks.generator import Generator
from training.networks.layers import one_hot
from training.options import make_config, resolve_options
from training.pictures import to_uint8
from training.players import Players
from training.presets import PRESET_NAMES, PresetName
from training.snapshots import NetworkFile

NUM_CLASSES = 10
ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """How fast one way is."""

    resolution: int
    way: str
    batch: int
    images_per_second: float
    times_single: float  # of the loop over single images


def untrained(cfg: PresetName, resolution: int) -> NetworkFile:
    """A network of a preset for RGB images of ten classes, as if it had been read from a file."""
    facts = DataFacts(
        width=resolution,
        height=resolution,
        num_channels=3,
        num_classes=NUM_CLASSES,
        class_names=tuple(map(str, range(NUM_CLASSES))),
        num_images=1,
        digest="none",
    )
    options = resolve_options(cfg, {}, resolution, resolution)
    config = make_config(options, DataConfig(path="none"), facts)
    return NetworkFile(Path("none"), "none", config, 0, Players(config).eval())


@torch.no_grad()
def single_loop(generator: Generator, seeds: Sequence[int]) -> None:
    """What is simplest: an image at a time, each brought to the CPU."""
    device = generator.mapping.w_avg.device
    for seed in seeds:
        c = one_hot(torch.tensor([seed % NUM_CLASSES]), NUM_CLASSES).to(device)
        z = latents([seed], generator.z_dim).to(device)
        to_uint8(generator(z, c, noise_mode="const")).cpu()


def in_batches(synthesizer: Synthesizer, seeds: Sequence[int], batch: int) -> None:
    """The same images as generate.py makes them."""
    for first in range(0, len(seeds), batch):
        chosen = seeds[first : first + batch]
        labels = torch.tensor([seed % NUM_CLASSES for seed in chosen])
        synthesizer.pictures(chosen, labels).cpu()


def speed(work: Callable[[Sequence[int]], None], chunk: int, seconds: float) -> float:
    """Images a second of `work`, which makes those of `chunk` seeds a call, over `seconds`."""
    count, started = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - started < seconds:
        work(range(count, count + chunk))
        count += chunk
    return count / (time.perf_counter() - started)


def compare(
    network: NetworkFile, device: torch.device, compute: ComputeConfig, batch: int, seconds: float
) -> list[Row]:
    """Both ways with one network, `seconds` for each round of each."""
    synthesizer = make_synthesizer(network, device, StyleConfig(), compute)
    ways: dict[str, tuple[Callable[[Sequence[int]], None], int]] = {
        "single": (lambda seeds: single_loop(synthesizer.generator, seeds), 1),
        "batches": (lambda seeds: in_batches(synthesizer, seeds, batch), batch),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for way, (work, chunk) in ways.items():
        work(range(chunk))  # a warm-up
        logger.info(f"{network.facts.width}: measuring {way}")
    for _ in range(ROUNDS):
        for way, (work, chunk) in ways.items():
            found[way].append(speed(work, chunk, seconds))
    medians = {way: statistics.median(values) for way, values in found.items()}
    return [
        Row(
            network.facts.width,
            way,
            ways[way][1],
            round(value, 2),
            round(value / medians["single"], 3),
        )
        for way, value in medians.items()
    ]


@click.command(context_settings=CONTEXT)
@click.option("--cfg", type=click.Choice(PRESET_NAMES), default="tiny", show_default=True)
@click.option("--resolutions", type=NameList(), default="16,32,64", show_default=True)
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Of the CPU. [torch's choice]")
@click.option(
    "--seconds",
    type=Number(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help=f"Of each of {ROUNDS} rounds.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto")
@compute_options
@click.option("--out", type=click.Path(path_type=Path), help="JSON file that gets the record.")
def main(
    cfg: PresetName,
    resolutions: list[str],
    batch: int,
    threads: int | None,
    seconds: float,
    device: str,
    compute: ComputeConfig,
    out: Path | None,
) -> None:
    """Print images a second, one by one and in batches."""
    if not all(text.isdecimal() for text in resolutions):
        raise UserError(f"--resolutions: takes numbers like 32,64, found {','.join(resolutions)}")
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    rows = [
        row
        for resolution in map(int, resolutions)
        for row in compare(untrained(cfg, resolution), chosen, compute, batch, seconds)
    ]
    for row in rows:
        logger.info(
            f"{row.resolution:>5} {row.way:<8} batch {row.batch:<4} "
            f"{row.images_per_second:>9.1f} images/s  x{row.times_single:.2f}"
        )
    if out is not None:
        sizes = {"resolutions": [int(text) for text in resolutions], "batch": batch}
        setting = {"cfg": cfg, **compute.model_dump(), **sizes}
        measured = device_facts(chosen) | {"rows": [asdict(row) for row in rows]}
        put(out, "generate", setting, measured)
        logger.info(f"Record: {out}")


if __name__ == "__main__":
    run(main)
