"""Mix the styles of pictures of a trained network."""

from __future__ import annotations

from pathlib import Path

import click

from dnnlib.cli import CONTEXT, NameList, SeedList, run
from training.generation.load import ComputeConfig
from training.generation.script_options import (
    compute_options,
    network_options,
    outdir_option,
    style_options,
    switch,
)
from training.generation.style_mixing import StyleMixingConfig, mix_styles
from training.generation.synthesis import StyleConfig
from training.networks.precision import Precision


@click.command(context_settings=CONTEXT)
@network_options
@outdir_option
@click.option(
    "--rows", type=SeedList(), default="0-3", show_default=True, help="Seeds of the rows."
)
@click.option(
    "--cols",
    "columns",
    type=SeedList(),
    default="4-9",
    show_default=True,
    help="Seeds of the columns.",
)
@click.option(
    "--styles",
    "layers",
    type=SeedList(),
    help="Layers that follow the column, counted from 0 at the lowest resolution: 0-3. [the first "
    "half]",
)
@click.option(
    "--class",
    "classes",
    type=NameList(),
    help="Class of all pictures, by name or number, or a mixture; of several, or 'all', each seed "
    "for each. Left out, each seed draws its own.",
)
@click.option("--row-class", "row_classes", type=NameList(), help="The same for rows.  [--class]")
@click.option("--col-class", "column_classes", type=NameList(), help="For columns.  [--class]")
@style_options
@switch("--images", "Also write each picture of the matrix to a file.")
@compute_options
def main(
    network: str,
    device: str,
    batch: int,
    outdir: Path | None,
    rows: list[int],
    columns: list[int],
    layers: list[int] | None,
    classes: list[str] | None,
    row_classes: list[str] | None,
    column_classes: list[str] | None,
    style: StyleConfig,
    images: bool,
    precision: Precision,
    cuda_graphs: bool,
) -> None:
    """Mix the styles of pictures: a matrix with the layers of --styles from its columns, all others
    from its rows."""
    if outdir is None:
        raise click.UsageError("give --outdir, the folder of the results")
    of_rows, of_columns = row_classes or classes, column_classes or classes
    mix_styles(
        StyleMixingConfig(
            network=network,
            outdir=outdir,
            rows=tuple(rows),
            columns=tuple(columns),
            layers=None if layers is None else tuple(layers),
            row_classes=None if of_rows is None else tuple(of_rows),
            column_classes=None if of_columns is None else tuple(of_columns),
            style=style,
            images=images,
            batch=batch,
            device=device,
            compute=ComputeConfig(precision=precision, cuda_graphs=cuda_graphs),
        )
    )


if __name__ == "__main__":
    run(main)
