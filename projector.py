"""Find the style with which a trained network makes a given picture."""

from __future__ import annotations

from pathlib import Path

import click

from dnnlib.cli import CONTEXT, collect, device_option, run, switch
from metrics.detectors import DEFAULT_DETECTOR
from metrics.feature_maps import feature_maps
from training.generation.projection import ProjectionConfig
from training.generation.projector import ProjectorConfig, project
from training.generation.script_options import Number, network_option, results_option


@click.command(context_settings=CONTEXT)
@network_option
@click.option(
    "--target",
    required=True,
    type=click.Path(path_type=Path),
    help="A picture; its centre is cut out and resized to what the network makes.",
)
@results_option
@click.option(
    "--class",
    "class_name",
    help="Its class by name or number, or a mixture, where the search begins. Left out, the "
    "network's classifier chooses it.",
)
@click.option(
    "--space",
    type=click.Choice(["w", "w+"]),
    default="w",
    show_default=True,
    help="One style for all layers, or one for each: w+ is closer to the picture, w can be edited "
    "and mixed better.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 10**6),
    default=1000,
    show_default=True,
    help="Steps of the search.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the search."
)
@click.option(
    "--lr",
    "learning_rate",
    type=Number(min=0, min_open=True, max=100),
    default=0.1,
    show_default=True,
    help="Learning rate at its highest.",
)
@click.option(
    "--detector",
    default=DEFAULT_DETECTOR,
    show_default=True,
    help="What pictures are compared with: efficientnet-lite0, vgg16, inception, or a file of "
    "weights of the last two.",
)
@click.option(
    "--noise-reg",
    type=Number(min=0, min_open=True),
    help="Fit the per-pixel noise too, with this weight (1e5 in the paper) on what is not noise "
    "in it; only the style is kept. [the noise stays as it is]",
)
@switch("--video", "Also write a video of the search.")
@device_option
@collect("projection", ProjectionConfig)
@collect("config", ProjectorConfig)
def main(config: ProjectorConfig) -> None:
    """Find the style with which a network makes a given picture.

    generate.py --projected-w makes the picture again from projected_w.npz.
    """
    project(config, feature_maps)


if __name__ == "__main__":
    run(main)
