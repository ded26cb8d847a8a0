"""Measure a trained network against the images it should be like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click
from pydantic import Field

from dnnlib import Config, UserError
from dnnlib.cli import CONTEXT, NameList, run
from dnnlib.download import is_url
from dnnlib.logs import logger
from metrics.detectors import DEFAULT_DETECTOR, DETECTORS, get_detector
from metrics.records import append_record, format_table
from metrics.suite import evaluate, parse_metrics
from torch_utils.world import choose_device
from training.data.archive import describe_shape
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.script_options import network_options, outdir_option, switch, truncation_option
from training.snapshots import NetworkFile, load_network
from training.synthesis import DatasetImages, GeneratedImages, StyleConfig, Synthesizer


class MeasureConfig(Config):
    """What is measured, and against what."""

    metrics: tuple[str, ...]
    network: str
    outdir: Path | None = None  # None: the network's folder
    data: str | None = None  # None: what the network was trained on
    mirror: bool | None = None  # None: as the network was trained
    detector: str
    trunc: float = 1.0
    seed: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=1)] = 16
    device: str = "auto"


def measure(config: MeasureConfig) -> None:
    """Print the scores and append them to the `metric-NAME.jsonl` of the network's folder.

    Raises `UserError` for an unknown metric or detector, and for a network, data or device that
    cannot be used.
    """
    parse_metrics(config.metrics)
    device = choose_device(config.device)
    network = load_network(config.network)
    dataset = matching_dataset(config, network)
    detector = get_detector(config.detector, device)
    # Noise as in training: another one for each image.
    style = StyleConfig(trunc=config.trunc, noise_mode="random")
    synthesizer = Synthesizer(network.generator.to(device), style, noise_device=device)
    outdir = config.outdir
    if outdir is None and not is_url(config.network):
        outdir = network.path.parent
    if outdir is not None:
        _make_folder(outdir)
    origin = {"network": network.digest, "kimg": network.nimg // 1000}
    fakes = GeneratedImages(synthesizer, dataset.labels, config.seed, origin)
    records = evaluate(config.metrics, DatasetImages(dataset), fakes, detector, config.batch)
    logger.info(format_table(records))
    if outdir is None:
        logger.info("The scores are not kept: give --outdir for a network from a URL")
        return
    for record in records:
        logger.info(f"Added to {append_record(outdir, record)}")


def matching_dataset(config: MeasureConfig, network: NetworkFile) -> ImageDataset:
    """The data that a network is measured against, labelled if the network has classes.

    Raises `UserError` where there is none or it is of another size or other classes.
    """
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
    return dataset


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--outdir {path}: cannot be made ({error.strerror})") from error


@click.command(context_settings=CONTEXT)
@click.option(
    "--metrics",
    type=NameList(),
    required=True,
    help="fid50k_full, kid50k_full, pr50k3_full, is50k, or with other numbers: fid5k_full,is5k.",
)
@network_options
@outdir_option
@click.option("--data", help="Real images: a folder or a zip.  [what the network was trained on]")
@switch("--mirror", "Mirror the real images too.  [as in training]", default=None)
@click.option(
    "--detector",
    metavar=f"[{'|'.join(DETECTORS)}|FILE]",
    default=DEFAULT_DETECTOR,
    show_default=True,
    help="What turns images into features; FILE: weights of Inception.",
)
@truncation_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def main(
    metrics: list[str],
    network: str,
    device: str,
    batch: int,
    outdir: Path | None,
    data: str | None,
    mirror: bool | None,
    detector: str,
    trunc: float,
    seed: int,
) -> None:
    """Measure a trained network against the images it should be like.

    Scores are printed and added to the metric-NAME.jsonl files beside the network, or in --outdir.
    """
    measure(
        MeasureConfig(
            metrics=tuple(metrics),
            network=network,
            outdir=outdir,
            data=data,
            mirror=mirror,
            detector=detector,
            trunc=trunc,
            seed=seed,
            batch=batch,
            device=device,
        )
    )


if __name__ == "__main__":
    run(main)
