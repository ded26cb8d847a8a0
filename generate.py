"""Make pictures with a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from dnnlib.cli import CONTEXT, NameList, SeedList, run
from training.gallery import GenerateConfig, generate, list_classes
from training.networks.generator import NoiseMode
from training.pictures import PictureFormat
from training.script_options import network_options, outdir_option, style_options, switch
from training.synthesis import StyleConfig


@click.command(context_settings=CONTEXT)
@network_options
@outdir_option
@click.option(
    "--seeds",
    type=SeedList(),
    default="0-15",
    show_default=True,
    help="An image for each: 0-35,77. The same seed gives the same image whatever the batch.",
)
@click.option(
    "--class",
    "classes",
    type=NameList(),
    help="Classes by name or number, or 'all': every seed for every class. Left out, each seed "
    "draws a class.",
)
@style_options
@switch("--grid", "Also write grid.png, a row for each class.")
@click.option(
    "--format",
    "image_format",
    type=click.Choice(["png", "jpg", "webp"]),
    default="png",
    show_default=True,
    help="Only png tells in the file how the image was made.",
)
@click.option("--list-classes", "only_list", is_flag=True, help="Print the classes, make nothing.")
def main(
    network: str,
    device: str,
    batch: int,
    outdir: Path | None,
    seeds: list[int],
    classes: list[str] | None,
    trunc: float,
    trunc_center: Literal["global", "class"],
    noise_mode: NoiseMode,
    grid: bool,
    image_format: PictureFormat,
    only_list: bool,
) -> None:
    """Make pictures with a trained network."""
    if only_list:
        list_classes(network)
        return
    if outdir is None:
        raise click.UsageError("give --outdir, the folder of the results")
    generate(
        GenerateConfig(
            network=network,
            outdir=outdir,
            seeds=tuple(seeds),
            classes=None if classes is None else tuple(classes),
            style=StyleConfig(trunc=trunc, trunc_center=trunc_center, noise_mode=noise_mode),
            grid=grid,
            format=image_format,
            batch=batch,
            device=device,
        )
    )


if __name__ == "__main__":
    run(main)
