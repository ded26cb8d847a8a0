"""Make pictures with a trained network."""

from __future__ import annotations

from pathlib import Path

import click

from dnnlib.cli import CONTEXT, MAX_SEEDS, NameList, SeedList, run, switch
from training.generation.gallery import GenerateConfig, generate, list_classes
from training.generation.load import ComputeConfig
from training.generation.script_options import (
    compute_options,
    network_options,
    style_options,
)
from training.generation.synthesis import StyleConfig
from training.pictures import PictureFormat

DEFAULT_SEEDS = range(16)


@click.command(context_settings=CONTEXT)
@network_options
@click.option("--outdir", type=click.Path(path_type=Path), help="Folder of the results.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Instead of --outdir: a zip that dataset_tool.py, train.py and other tools read as a data "
    "set, with labels.",
)
@click.option(
    "--seeds",
    type=SeedList(),
    help="An image for each: 0-35,77. The same seed gives the same image whatever the batch. "
    "[0-15]",
)
@click.option("--count", type=click.IntRange(1, MAX_SEEDS), help="Short for --seeds from 0 on.")
@click.option(
    "--class",
    "classes",
    type=NameList(),
    help="Classes by name or number, mixtures (dog:0.7+cat:0.3), or 'all': every seed for every "
    "class. Left out, each seed draws a class.",
)
@click.option(
    "--labels-of",
    type=click.Path(path_type=Path),
    help="A data set: seeds draw classes as often as they are there. [as in the training data]",
)
@style_options()
@click.option(
    "--projected-w",
    type=click.Path(path_type=Path),
    help="Styles instead of seeds: w of a .npz, .npy or .safetensors file.",
)
@switch("--save-w", "Also write each image's style, as .npz with w.")
@switch("--grid", "Also write grid.png: a row for each class, a column for each seed.")
@click.option(
    "--format",
    "picture_format",
    type=click.Choice(["png", "jpg", "webp"]),
    default="png",
    show_default=True,
    help="Of the files.",
)
@compute_options
@click.option("--list-classes", "only_list", is_flag=True, help="Print the classes, make nothing.")
def main(
    network: str,
    device: str,
    batch: int,
    outdir: Path | None,
    out: Path | None,
    seeds: list[int] | None,
    count: int | None,
    classes: list[str] | None,
    labels_of: Path | None,
    style: StyleConfig,
    projected_w: Path | None,
    save_w: bool,
    grid: bool,
    picture_format: PictureFormat,
    compute: ComputeConfig,
    only_list: bool,
) -> None:
    """Make pictures with a trained network.

    How each was made is in its file and in manifest.jsonl beside them.
    """
    if only_list:
        list_classes(network)
        return
    if sum(given is not None for given in (seeds, count, projected_w)) > 1:
        raise click.UsageError("--seeds, --count and --projected-w: one of them at a time")
    chosen = seeds or (DEFAULT_SEEDS if count is None else range(count))
    generate(
        GenerateConfig(
            network=network,
            outdir=outdir,
            out=out,
            seeds=tuple(chosen),
            classes=None if classes is None else tuple(classes),
            labels_of=labels_of,
            projected_w=projected_w,
            style=style,
            grid=grid,
            save_w=save_w,
            format=picture_format,
            batch=batch,
            device=device,
            compute=compute,
        )
    )


if __name__ == "__main__":
    run(main)
