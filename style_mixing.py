"""Mix the styles of pictures of a trained network."""

from __future__ import annotations

import click

from dnnlib.cli import CONTEXT, NameList, SeedList, collect, run, switch
from training.generation.script_options import (
    compute_options,
    network_options,
    results_option,
    style_options,
)
from training.generation.style_mixing import StyleMixingConfig, mix_styles


@click.command(context_settings=CONTEXT)
@network_options
@results_option
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
@style_options()
@switch("--images", "Also write each picture of the matrix to a file.")
@compute_options
@collect("config", StyleMixingConfig)
def main(config: StyleMixingConfig) -> None:
    """Mix the styles of pictures: a matrix with the layers of --styles from its columns, all others
    from its rows."""
    mix_styles(config)


if __name__ == "__main__":
    run(main)
