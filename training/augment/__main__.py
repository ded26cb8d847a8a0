"""Draw what each augmentation does to the images of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from dnnlib.cli import CONTEXT, run
from training.augment.config import PresetName
from training.augment.sheet import SheetConfig, draw_sheet


@click.command(context_settings=CONTEXT)
@click.option("--data", required=True, help="Data set: a zip or a folder of images.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Picture to write.")
@click.option(
    "--preset",
    type=click.Choice(get_args(PresetName)),
    default="bgc",
    show_default=True,
    help="Transforms of the pipeline's rows.",
)
@click.option(
    "--p",
    "probabilities",
    type=click.FloatRange(0, 1),
    multiple=True,
    default=(0.0, 0.2, 0.5, 0.8),
    show_default=True,
    help="Probability of each transform, a row for each --p.",
)
@click.option(
    "--columns", type=click.IntRange(1, 64), default=12, show_default=True, help="Images."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def main(
    data: str,
    out: Path,
    preset: PresetName,
    probabilities: tuple[float, ...],
    columns: int,
    seed: int,
) -> None:
    """Draw what each augmentation does to images: each alone, all together, DiffAugment."""
    draw_sheet(
        SheetConfig(
            data=data,
            out=out,
            preset=preset,
            probabilities=probabilities,
            columns=columns,
            seed=seed,
        )
    )


if __name__ == "__main__":
    run(main)
