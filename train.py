"""Train a class-conditional GAN on a folder or zip of images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from dnnlib.cli import CONTEXT, EXIT_SIGNAL, config_options, run
from dnnlib.errors import UserError
from dnnlib.files import sha256_file
from dnnlib.logs import logger
from metrics.detectors import DEFAULT_DETECTOR, get_detector
from metrics.records import append_record, format_table
from metrics.suite import evaluate, parse_metrics
from torch_utils.torchrun import run_in_world
from torch_utils.world import World
from training.artifacts import Evaluate, Score
from training.config import TrainingConfig
from training.data.dataset import ImageDataset
from training.launch import LaunchRequest, launch
from training.networks.generator import Generator
from training.options import TrainOptions
from training.presets import PRESET_NAMES, PresetName
from training.synthesis import DatasetImages, GeneratedImages, StyleConfig, Synthesizer


def make_evaluate(config: TrainingConfig, dataset: ImageDataset) -> Evaluate | None:
    """The scores that a run takes at each snapshot, into `metric-*.jsonl` beside the network.

    Raises `UserError` for an unknown metric, and for one that the detector does not allow.
    """
    metrics = parse_metrics(config.run.metrics)
    if not metrics:
        return None
    for metric in metrics:
        if metric.family.of_classes:
            raise UserError(
                f"--metrics: {metric.name} is about classes, which {DEFAULT_DETECTOR} does not "
                "tell; take it after training with calc_metrics.py --detector inception"
            )

    def scores(generator: Generator, network: Path, world: World) -> list[Score]:
        device = generator.mapping.w_avg.device
        detector = get_detector(DEFAULT_DETECTOR, device)
        origin = {"network": network.name, "network_digest": sha256_file(network)}
        synthesizer = Synthesizer(generator, StyleConfig(noise_mode="random"), device)
        fakes = GeneratedImages(synthesizer, dataset.labels, config.seed, origin)
        records = evaluate(config.run.metrics, DatasetImages(dataset), fakes, detector)
        logger.info(format_table(records))
        for record in records:
            append_record(network.parent, record)
        return [
            Score(name, value, metric.family.lower_is_better)
            for metric, record in zip(metrics, records, strict=True)
            for name, value in record.results.items()
        ]

    return scores


@click.command(context_settings=CONTEXT)
@click.option("--outdir", type=click.Path(path_type=Path), help="Folder of all runs.")
@click.option("--data", help="Images to train on: a folder or a zip.")
@click.option("--cfg", type=click.Choice(PRESET_NAMES), help="Preset of all options. [auto]")
@click.option(
    "--device",
    type=click.Choice(["auto", "cuda", "cpu", "mps"]),
    default="auto",
    show_default=True,
)
@click.option(
    "--gpus",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes of this machine, a GPU each; for several machines start it with torchrun.",
)
@click.option("--cond", type=click.BOOL, help="Train with classes. [follows the data]")
@click.option("--subset", type=click.IntRange(min=1), help="Train on that many images. [all]")
@click.option("--mirror", type=click.BOOL, help="Add x-flipped copies. [no]")
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
    interrupted_by = launch(request, world, make_evaluate)
    return 0 if interrupted_by is None else EXIT_SIGNAL + interrupted_by


if __name__ == "__main__":
    run(main)
