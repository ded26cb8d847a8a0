"""Draw what D and C see, the schedules behind it, and how they moved in a run."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from dnnlib import UserError
from dnnlib.cli import CONTEXT, config_options, run
from training.options import TrainOptions
from training.presets import PRESET_NAMES, PresetName
from training.study.study import StudyFormat, StudyRequest, draw_study


@click.command(context_settings=CONTEXT)
@click.option("--data", help="Data set: a folder or a zip. [that of --run]")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of pictures.")
@click.option(
    "--run",
    "run_dir",
    type=click.Path(path_type=Path),
    help="Folder of a run: its settings and data, and the way its horizons went.",
)
@click.option(
    "--images", type=click.IntRange(1, 16), default=2, show_default=True, help="Images shown."
)
@click.option(
    "--format",
    "picture_format",
    type=click.Choice(get_args(StudyFormat)),
    default="png",
    show_default=True,
)
@click.option("--cfg", type=click.Choice(PRESET_NAMES), help="Preset of all options. [auto]")
@click.option("--cond", type=click.BOOL, help="Train with classes. [follows the data]")
@config_options(TrainOptions)
def main(
    data: str | None,
    out: Path,
    run_dir: Path | None,
    images: int,
    picture_format: StudyFormat,
    cfg: PresetName | None,
    cond: bool | None,
    **options: object,  # those of TrainOptions, see there
) -> None:
    """Draw what D and C see of a data set, and the noise behind it.

    Takes the options of train.py: those about noise and augmentation change the pictures. Options
    that are left out follow --cfg; their defaults stand in brackets. With --run there is a chart
    more: how T, r and p went.
    """
    options |= {"cfg": cfg, "cond": cond}
    given = {name: value for name, value in options.items() if value is not None}
    if run_dir is not None and given:
        name = next(iter(given)).replace("_", "-")
        raise UserError(f"--{name}: --run has its settings from the run; leave one of them out")
    draw_study(StudyRequest(data, run_dir, out, given, images, picture_format))


if __name__ == "__main__":
    run(main)
