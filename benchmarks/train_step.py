"""How long training takes: seconds per thousand images by phase, memory, use of the device.

python -m benchmarks.train_step --cfg cifar --batch-gpu 32
python -m benchmarks.train_step --cfg paper256 --resolution 256 --classifier no --noise-model none
python -m benchmarks.train_step --cfg tiny --resolution 16 --channels 1 --device cpu

Takes every option of train.py that says what is trained, on random images. Without a classifier and
without noise it times plain StyleGAN2. Prints a table; --out puts the record into a JSON file.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.convolutions import ConvolutionRecord
from benchmarks.records import Record, device_facts, put
from dnnlib.cli import CONTEXT, Size, config_options, run
from dnnlib.logs import logger
from torch_utils.seeding import reseed
from torch_utils.stats import Stats
from torch_utils.world import World, choose_device
from training.config import DataFacts, TrainingConfig
from training.data.dataset import DataConfig
from training.data.loader import Batch
from training.estimate import META, measured_rate, phase_cost
from training.networks.precision import set_precision, set_tensor_cores
from training.options import TrainOptions, make_config, resolve_options
from training.phases import Phase, make_phases
from training.players import Players
from training.presets import PRESET_NAMES, PresetName
from training.reporting import peak_memory_gib
from training.state import TrainingState
from training.trainer import Trainer


def random_facts(size: tuple[int, int], channels: int, classes: int) -> DataFacts:
    """The facts of a data set of random images; `size` is width and height in pixels."""
    return DataFacts(
        width=size[0],
        height=size[1],
        num_channels=channels,
        num_classes=classes,
        class_names=tuple(str(index) for index in range(classes)),
        num_images=1000,
        digest="random",
    )


def random_batches(config: TrainingConfig, device: torch.device) -> Iterator[Batch]:
    """The same random batch, over and over, on the device."""
    facts = config.facts
    shape = [config.batch, facts.num_channels, facts.height, facts.width]
    images = torch.randint(256, shape, device=device).byte()
    labels = torch.arange(config.batch, device=device) % max(facts.num_classes, 1)
    while True:
        yield Batch(images, labels)


def make_trainer(config: TrainingConfig, device: torch.device) -> Trainer:
    """A trainer at the beginning of a run on random images."""
    reseed(config.seed, "benchmark")
    world = World(device)
    labels = torch.arange(config.facts.num_images) % max(config.facts.num_classes, 1)
    state = TrainingState(config, device)
    return Trainer(config, state, random_batches(config, device), labels, world, Stats(world))


class Stopwatch:
    """Median seconds of repeated work, the device's included."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats

    def __call__(self, work: Callable[[], object]) -> float:
        work()
        times = []
        for _ in range(self.repeats):
            self._wait()
            started = time.perf_counter()
            work()
            self._wait()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure(config: TrainingConfig, device: torch.device, repeats: int) -> Record:
    """Seconds per kimg by phase and in all, memory, convolutions alone, share of the peak rate."""
    trainer = make_trainer(config, device)
    watch = Stopwatch(device, repeats)
    per_kimg = 1000 / config.batch
    phases = {}
    for phase in trainer.phases:
        (draw,) = trainer.draw(next(trainer.data), 1)
        seconds = watch(lambda phase=phase, draw=draw: trainer.update(phase, draw))  # type: ignore[misc]
        phases[phase.name] = seconds / phase.interval * per_kimg
    cycle = max(phase.interval for phase in trainer.phases)
    seconds_step = watch(lambda: _steps(trainer, cycle)) / cycle
    convolutions = _convolutions_alone(trainer, watch)
    flops = _flops_per_image(config)
    rate, peak = flops * config.batch / seconds_step, measured_rate(config.run.precision, device)
    return {
        "sec_per_kimg": seconds_step * per_kimg,
        "sec_per_kimg_by_phase": phases,
        "sec_per_kimg_convolutions_alone": convolutions * per_kimg,
        "peak_memory_gib": peak_memory_gib(device),
        "tflops": rate / 1e12,
        "convolution_peak_tflops": peak / 1e12,
    }


def setting(config: TrainingConfig) -> Record:
    """What a step is timed for."""
    return {
        "cfg": config.preset,
        "resolution": [config.facts.width, config.facts.height],
        "batch": config.batch,
        "batch_gpu": config.batch_gpu,
        "classifier": config.classifier is not None,
        "noise": config.diffusion_d is not None,
        "precision": config.run.precision,
        "nhwc": config.run.nhwc,
        "cuda_graphs": config.run.cuda_graphs,
    }


def _steps(trainer: Trainer, count: int) -> None:
    for _ in range(count):
        trainer.step()


def _convolutions_alone(trainer: Trainer, watch: Stopwatch) -> float:
    """Seconds that the convolutions of an average step take without anything between them."""
    total = 0.0
    for phase in trainer.phases:
        (draw,) = trainer.draw(next(trainer.data), 1)
        parts = draw.split(trainer.config.batch_gpu)
        phase.wake()
        with ConvolutionRecord() as record:
            phase.loss(parts[0], trainer.stats).backward()  # type: ignore[no-untyped-call]
        phase.sleep()
        total += record.alone(watch) * len(parts) / phase.interval
    return total


def _flops_per_image(config: TrainingConfig) -> float:
    players = Players(config).to(META)
    set_precision(players, config.run.precision, config.run.low_resolutions)
    phases: list[Phase] = make_phases(players, config.losses)
    costs = [phase_cost(phase, config, players)[0] / phase.interval for phase in phases]
    return sum(costs) / config.batch_gpu


def table(record: Record) -> str:
    """The record for people."""
    total, alone = record["sec_per_kimg"], record["sec_per_kimg_convolutions_alone"]
    share = record["tflops"] / record["convolution_peak_tflops"]
    phases = record["sec_per_kimg_by_phase"].items()
    rows = [
        ("seconds per kimg", "", ""),
        *((name, f"{seconds:.3f}", "") for name, seconds in phases),
        ("a whole step", f"{total:.3f}", ""),
        ("its convolutions alone", f"{alone:.3f}", f"a step takes {total / alone:.2f} times that"),
        ("peak memory", f"{record['peak_memory_gib']:.2f}", "GiB"),
        ("rate", f"{record['tflops']:.3g}", f"TFLOP/s, {share:.0%} of a large convolution's"),
    ]
    return "\n".join(f"{name:24}{value:>9}   {note}".rstrip() for name, value, note in rows)


@click.command(context_settings=CONTEXT)
@click.option("--cfg", type=click.Choice(PRESET_NAMES), default="auto", show_default=True)
@click.option("--resolution", type=Size(), default="32", show_default=True)
@click.option("--channels", type=click.IntRange(1, 4), default=3, show_default=True)
@click.option("--classes", type=click.IntRange(0), default=10, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Of the processor. [torch's own choice]")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file that gets the record.")
@config_options(TrainOptions)
def main(
    cfg: PresetName,
    resolution: tuple[int, int],
    channels: int,
    classes: int,
    device: str,
    threads: int | None,
    repeats: int,
    out: Path | None,
    **options: Any,  # those of TrainOptions, see there
) -> None:
    """Time a training step of any configuration."""
    if threads is not None:
        torch.set_num_threads(threads)
    where = choose_device(device)
    given = {name: value for name, value in options.items() if value is not None}
    facts = random_facts(resolution, channels, classes)
    resolved = resolve_options(cfg, given, facts.width, facts.height)
    config = make_config(resolved, DataConfig(path="random"), facts, where)
    set_tensor_cores(config.run.precision, config.run.cudnn_benchmark)
    record = device_facts(where) | measure(config, where, repeats)
    logger.info(table(record))
    if out is not None:
        put(out, "train_step", setting(config), record)
        logger.info(f"Record: {out}")


if __name__ == "__main__":
    run(main)
