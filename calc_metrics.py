"""Measure a trained network, or images from anywhere, against the images it should be like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import click
import torch
from click.core import ParameterSource
from pydantic import Field

from dnnlib import Config, UserError
from dnnlib.cli import CONTEXT, NameList, collect, device_option, gpus_option, run, switch
from dnnlib.download import is_url
from dnnlib.logs import logger
from metrics.checks import check_instruments, check_metrics
from metrics.detectors import DEFAULT_DETECTOR, DETECTORS
from metrics.instruments import load_instruments
from metrics.names import parse_metrics
from metrics.records import MetricRecord, append_record, format_table
from metrics.sources import Subject
from metrics.suite import measure
from torch_utils.torchrun import run_in_world
from torch_utils.world import World
from training.data.archive import describe_shape
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.evaluation import (
    DatasetImages,
    FolderImages,
    LabelPlan,
    NetworkImages,
    NetworkJudge,
    NetworkPaths,
    network_origin,
    numbered_as,
)
from training.generation.load import ComputeConfig, make_synthesizer
from training.generation.script_options import compute_options, style_options
from training.generation.synthesis import StyleConfig
from training.snapshots import NetworkFile, load_network


class MeasureConfig(Config):
    """What is measured, and against what."""

    metrics: tuple[str, ...]
    network: str | None
    fakes: str | None
    outdir: Path | None  # None: the network's folder
    data: str | None  # None: what the network was trained on
    mirror: bool | None  # None: as the network was trained
    detector: str
    pr_detector: str | None  # None: the detector
    judge: str | None  # None: the network's own classifier
    per_class: bool
    style: StyleConfig
    labels: LabelPlan
    seed: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(ge=1)]
    compute: ComputeConfig


def calculate(world: World, config: MeasureConfig) -> int:
    """Print the scores and append them to the `metric-NAME.jsonl` of the network's folder.

    Raises `UserError` for what was asked wrongly, before any work, and the error of the first
    metric that failed, after the others.
    """
    metrics = parse_metrics(config.metrics)
    network = None if config.network is None else load_network(config.network)
    dataset = open_reals(config, network)
    subject = open_subject(config, network, dataset, world.device)
    check_metrics(metrics, subject, config.per_class)
    judge = None
    if any(metric.family.role == "judge" for metric in metrics):
        judge = open_judge(config, network, dataset, world.device)
    instruments = load_instruments(
        metrics, config.detector, config.pr_detector, judge, world.device
    )
    check_instruments(metrics, instruments)
    outdir = choose_outdir(config, network)
    done = measure(metrics, subject, instruments, world, config.batch, config.per_class)
    if world.rank == 0:
        report(done.records, outdir)
    for name, error in done.failures[1:]:
        logger.warning(f"{name} failed ({type(error).__name__}: {error})")
    for _, error in done.failures[:1]:
        raise error
    return 0


def open_reals(config: MeasureConfig, network: NetworkFile | None) -> ImageDataset:
    """The data to measure against, with classes if the network has them, numbered as its own.

    Raises `UserError` where there is none, or it is of another size or other classes.
    """
    if network is None:
        if config.data is None:
            raise UserError("--data: name the images that those of --fakes should be like")
        return open_dataset(DataConfig(path=config.data, mirror=bool(config.mirror)))
    trained_on, facts = network.config.data, network.facts
    if config.data is None and not Path(trained_on.path).exists():
        raise UserError(
            f"--data: the network was trained on {trained_on.path}, which is not there; "
            "name the data set to measure against"
        )
    data = trained_on if config.data is None else DataConfig(path=config.data)
    mirror = trained_on.mirror if config.mirror is None else config.mirror
    use_labels = None if facts.num_classes > 0 else False
    dataset = open_dataset(data.model_copy(update={"mirror": mirror, "use_labels": use_labels}))
    ours = describe_shape((facts.height, facts.width, facts.num_channels))
    theirs = describe_shape(dataset.archive.shape)
    if ours != theirs:
        raise UserError(
            f"--data {data.path}: its images are {theirs}, the network makes {ours}; measure "
            "against images of that kind (dataset_tool.py makes them that size)"
        )
    if dataset.num_classes != facts.num_classes:
        raise UserError(
            f"--data {data.path}: has {dataset.num_classes or 'no'} classes, the network has "
            f"{facts.num_classes}; measure against data with the same classes"
        )
    return numbered_as(dataset, facts.class_names)


def open_subject(
    config: MeasureConfig, network: NetworkFile | None, dataset: ImageDataset, device: torch.device
) -> Subject:
    """The images to measure, and those to measure against.

    Raises `UserError` for --fakes of another size than the data.
    """
    reals = DatasetImages(dataset)
    if config.fakes is not None:
        fakes = open_dataset(DataConfig(path=config.fakes))
        ours, theirs = describe_shape(fakes.archive.shape), describe_shape(dataset.archive.shape)
        if ours != theirs:
            raise UserError(
                f"--fakes {config.fakes}: its images are {ours}, those of --data are {theirs}; "
                "make them alike with dataset_tool.py"
            )
        return Subject(reals, FolderImages(fakes, dataset.class_names))
    assert network is not None
    synthesizer = make_synthesizer(network, device, config.style, config.compute)
    origin = network_origin(
        network.path, network.digest, network.nimg // 1000, config.compute.precision
    )
    images = NetworkImages(synthesizer, dataset, origin, config.seed, config.labels)
    paths = NetworkPaths(synthesizer, dataset, config.seed, config.labels)
    return Subject(reals, images, paths)


def open_judge(
    config: MeasureConfig, network: NetworkFile | None, dataset: ImageDataset, device: torch.device
) -> NetworkJudge:
    """The classifier that recognises classes: --judge's, or the network's own.

    Raises `UserError` where there is none, or it knows other classes.
    """
    if config.judge is None and (network is None or network.players.C is None):
        raise UserError(
            "--judge: class accuracy takes a classifier; name a network that was trained with one"
        )
    judge = network if config.judge is None else load_network(config.judge, "--judge")
    assert judge is not None
    own = network is not None and judge.digest == network.digest
    return NetworkJudge(judge, dataset.class_names, device, own)


def choose_outdir(config: MeasureConfig, network: NetworkFile | None) -> Path | None:
    """Where scores are kept; None where nobody said. Raises `UserError` if it cannot be made."""
    if config.outdir is None:
        local = network is not None and not is_url(config.network or "")
        return network.path.parent if network is not None and local else None
    try:
        config.outdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--outdir {config.outdir}: cannot be made ({error.strerror}); choose another place"
        ) from error
    return config.outdir


def report(records: Sequence[MetricRecord], outdir: Path | None) -> None:
    """Print the scores and append them to the files of `outdir`."""
    if not records:
        return
    logger.info(format_table(records))
    if outdir is None:
        logger.info("The scores are not kept: give --outdir")
        return
    files = [append_record(outdir, record).name for record in records]
    logger.info(f"Added to {', '.join(files)} in {outdir}")


def refuse_generation(context: click.Context) -> None:
    """Raise `click.UsageError` for options about a generator where there are --fakes instead."""
    for name in (*StyleConfig.model_fields, *ComputeConfig.model_fields, "labels", "seed"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option}: is about a --network; leave it out with --fakes")


@click.command(context_settings=CONTEXT)
@click.option(
    "--metrics",
    type=NameList(),
    required=True,
    help="fid50k_full, kid50k_full, pr50k3_full, dc50k5_full, is50k, ppl2_wend, acc2k, "
    "intra_fid50k_full; with other numbers: fid5k_full,is5k.",
)
@click.option("--network", help="A network: file, URL, or run folder (its best network).")
@click.option("--fakes", help="Instead: images that another program made, a folder or a zip.")
@click.option("--data", help="Real images: a folder or a zip.  [what the network was trained on]")
@switch("--mirror", "Mirror the real images too.  [as in training]", default=None)
@click.option(
    "--outdir", type=click.Path(path_type=Path), help="Folder of the scores.  [the network's]"
)
@click.option(
    "--detector",
    metavar=f"[{'|'.join(DETECTORS)}|FILE]",
    default=DEFAULT_DETECTOR,
    show_default=True,
    help="What turns images into features; FILE: weights of Inception.",
)
@click.option(
    "--pr-detector",
    metavar=f"[{'|'.join(DETECTORS)}|FILE]",
    help="The same for pr and dc; published ones have vgg16.  [as --detector]",
)
@click.option("--judge", help="A network whose classifier recognises classes.  [the network's own]")
@switch("--per-class", "Give scores within each class too, the worst class first.")
@style_options(noise_mode="random")
@click.option(
    "--labels",
    type=click.Choice(["data", "even"]),
    default="data",
    show_default=True,
    help="Classes of generated images: as often as in the data, or all equally often.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the generated images.",
)
@compute_options
@device_option
@gpus_option("Scores stay the same.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Images at a time; changes speed and memory, not the scores.",
)
@collect("config", MeasureConfig)
@click.pass_context
def main(context: click.Context, config: MeasureConfig, device: str, gpus: int) -> int:
    """Measure a trained network, or images, against the images they should be like.

    Scores are printed and added to the metric-NAME.jsonl files beside the network, or in --outdir.
    """
    if (config.network is None) == (config.fakes is None):
        raise click.UsageError("give --network or --fakes, one of them")
    if config.fakes is not None:
        refuse_generation(context)
    return run_in_world(calculate, gpus, device, (config,))


if __name__ == "__main__":
    run(main)
