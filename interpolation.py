"""Make a video that passes from class to class or from latent to latent."""

from __future__ import annotations

import click

from dnnlib.cli import CONTEXT, NameList, SeedList, Size, collect, run, switch
from training.generation.interpolation import InterpolationConfig, interpolate
from training.generation.script_options import (
    Number,
    compute_options,
    network_options,
    results_option,
    style_options,
)


@click.command(context_settings=CONTEXT)
@network_options
@results_option
@click.option(
    "--mode",
    type=click.Choice(["class", "latent", "both"]),
    default="class",
    show_default=True,
    help="What changes: the class with the latent kept, the latent within a class, or both.",
)
@click.option(
    "--classes",
    type=NameList(),
    help="Classes to pass through, by name or number, or mixtures: dog,cat,dog:0.5+wild:0.5. Left "
    "out, the first seed draws them.",
)
@click.option(
    "--seeds",
    type=SeedList(),
    help="The latent (class), or those to pass through (latent, both). [0; 0-1; 0 and up]",
)
@click.option(
    "--space",
    type=click.Choice(["w", "z"]),
    default="w",
    show_default=True,
    help="Mix mapped styles, or latents (along a great circle) and embeddings of classes.",
)
@click.option(
    "--easing",
    type=click.Choice(["linear", "smooth"]),
    default="smooth",
    show_default=True,
    help="smooth slows down at each class or latent.",
)
@switch("--loop", "End where it began.")
@click.option(
    "--seconds",
    type=Number(min=0, min_open=True, max=3600),
    default=4.0,
    show_default=True,
    help="Duration of each transition.",
)
@click.option(
    "--fps", type=click.IntRange(1, 240), default=30, show_default=True, help="Frames a second."
)
@click.option(
    "--grid", type=Size(), default="1x1", show_default=True, help="Pictures side by side, as 4x2."
)
@click.option(
    "--strip",
    type=click.IntRange(min=2),
    help="Also write a picture of that many steps side by side, for papers.",
)
@style_options()
@click.option(
    "--format",
    type=click.Choice(["mp4", "gif", "webp", "frames"]),
    default="mp4",
    show_default=True,
    help="frames is a folder of png files, and what there is without ffmpeg.",
)
@compute_options
@collect("config", InterpolationConfig)
def main(config: InterpolationConfig) -> None:
    """Make a video that passes from class to class or from latent to latent."""
    interpolate(config)


if __name__ == "__main__":
    run(main)
