"""Train a class-conditional GAN on a folder or zip of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import click
import torch

from dnnlib.cli import CONTEXT, EXIT_SIGNAL, config_options, device_option, gpus_option, run, switch
from dnnlib.errors import RunError, UserError
from dnnlib.files import sha256_file
from dnnlib.logs import logger
from metrics.checks import check_instruments, check_reals
from metrics.instruments import Instruments, load_instruments
from metrics.names import Metric, parse_metrics
from metrics.records import append_record, format_table
from metrics.sources import Subject
from metrics.suite import measure
from torch_utils.distributed import together
from torch_utils.torchrun import run_in_world
from torch_utils.world import World
from training.artifacts import Evaluate, Score
from training.config import TrainingConfig
from training.data.dataset import ImageDataset
from training.evaluation import (
    DatasetImages,
    NetworkImages,
    NetworkJudge,
    NetworkPaths,
    network_origin,
)
from training.generation.synthesis import StyleConfig, Synthesizer
from training.launch import LaunchRequest, launch
from training.networks.generator import Generator
from training.options import TrainOptions
from training.presets import PRESET_NAMES, PresetName
from training.snapshots import load_network

_MANY_TIMES = 50  # generated images for each real one


class RunScores:
    """The scores that a run takes at each snapshot, into `metric-*.jsonl` beside the network."""

    def __init__(
        self, metrics: Sequence[Metric], config: TrainingConfig, dataset: ImageDataset
    ) -> None:
        self.metrics, self.config, self.dataset = metrics, config, dataset

    def __call__(self, generator: Generator, network: Path, world: World) -> list[Score]:
        def prepare() -> tuple[Subject, Instruments]:
            subject, judge = self._subject(generator, network, world), self._judge(network, world)
            detector = self.config.run.detector
            return subject, load_instruments(self.metrics, detector, None, judge, world.device)

        # What fails in one process alone must not leave the others waiting for it in `measure`.
        subject, instruments = together(prepare, world)
        done = measure(self.metrics, subject, instruments, world, self.config.batch_gpu)
        for name, error in done.failures:
            logger.warning(f"{name} failed ({type(error).__name__}: {error}); training goes on")
        if done.records:
            logger.info(format_table(done.records))
        for record in done.records:
            append_record(network.parent, record)
        metrics = {metric.name: metric for metric in self.metrics}
        return [
            Score(name, value, metrics[record.metric].family.lower_is_better)
            for record in done.records
            for name, value in metrics[record.metric].scores(record.results).items()
        ]

    def _subject(self, generator: Generator, network: Path, world: World) -> Subject:
        digest = sha256_file(network) if world.rank == 0 else ""  # others need not see the file
        kimg = int(network.stem.rpartition("-")[2])
        origin = network_origin(network, digest, kimg, self.config.run.precision)
        synthesizer = Synthesizer(generator, StyleConfig(noise_mode="random"), world.device)
        images = NetworkImages(synthesizer, self.dataset, origin, self.config.seed)
        paths = NetworkPaths(synthesizer, self.dataset, self.config.seed)
        return Subject(DatasetImages(self.dataset), images, paths)

    def _judge(self, network: Path, world: World) -> NetworkJudge | None:
        if all(metric.family.role != "judge" for metric in self.metrics):
            return None
        file = load_network(str(network))
        return NetworkJudge(file, self.dataset.class_names, world.device, own=True)


def make_evaluate(world: World, config: TrainingConfig, dataset: ImageDataset) -> Evaluate | None:
    """The scores of a run, without those whose instruments cannot be had: these get a warning.

    All processes of `world` go without what one of them does not have. Raises `UserError` for a
    metric that does not exist, or that data or detector do not allow.
    """
    metrics = parse_metrics(config.run.metrics)
    check_reals(metrics, DatasetImages(dataset))
    if config.classifier is None and any(metric.family.role == "judge" for metric in metrics):
        raise UserError("--metrics: class accuracy takes a classifier; leave it out")
    possible = []
    for metric in metrics:
        load = partial(
            load_instruments, [metric], config.run.detector, None, None, torch.device("cpu")
        )
        try:
            found = together(load, world)
        except (UserError, RunError) as error:
            logger.warning(f"training goes without {metric.name}: {error}")
            continue
        check_instruments([metric], found)
        possible.append(metric)
    for metric in possible:
        if metric.count > _MANY_TIMES * len(dataset):
            logger.warning(
                f"{metric.name} makes {metric.count:,} images at each snapshot, to compare them "
                f"with {len(dataset):,}"
            )
    return RunScores(possible, config, dataset) if possible else None


@click.command(context_settings=CONTEXT)
@click.option("--outdir", type=click.Path(path_type=Path), help="Folder of all runs.")
@click.option("--data", help="Images to train on: a folder or a zip.")
@click.option("--cfg", type=click.Choice(PRESET_NAMES), help="Preset of all options. [auto]")
@device_option
@gpus_option("For several machines start it with torchrun.")
@switch("--cond", "Train with classes. [follows the data]", default=None)
@click.option("--subset", type=click.IntRange(min=1), help="Train on that many images. [all]")
@switch("--mirror", "Add x-flipped copies. [no]", default=None)
@click.option("--resume", help="A run folder to continue, or a network to start from.")
@click.option("--exp-id", help="Appended to the name of the run's folder.")
@click.option("-n", "--dry-run", is_flag=True, help="Check everything, print it, write nothing.")
@config_options(TrainOptions)
def main(
    outdir: Path | None,
    data: str | None,
    cfg: PresetName | None,
    device: Literal["auto", "cuda", "cpu", "mps"],
    gpus: int,
    cond: bool | None,
    subset: int | None,
    mirror: bool | None,
    resume: str | None,
    exp_id: str | None,
    dry_run: bool,
    **options: object,  # those of TrainOptions, see there
) -> int:
    """Train a class-conditional GAN with dual diffusion.

    Typing the same command again continues the run where it stopped. Options that are left out
    follow --cfg; their defaults stand in brackets.
    """
    options |= {"cfg": cfg, "cond": cond, "mirror": mirror, "subset": subset}
    request = LaunchRequest(
        outdir=outdir,
        data=data,
        given={name: value for name, value in options.items() if value is not None},
        resume=resume,
        exp_id=exp_id,
        dry_run=dry_run,
    )
    return run_in_world(train, gpus, device, (request,))


def train(world: World, request: LaunchRequest) -> int:
    """Exit status of the training that `request` asks for, as one of the processes of `world`."""
    interrupted_by = launch(request, world, partial(make_evaluate, world)).interrupted_by
    return 0 if interrupted_by is None else EXIT_SIGNAL + interrupted_by


if __name__ == "__main__":
    run(main)
