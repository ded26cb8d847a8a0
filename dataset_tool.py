"""Convert images into a data set for training, or check one."""

from __future__ import annotations

from typing import Literal

import click

from dnnlib.cli import CONTEXT, NameList, Size, run
from training.data.convert import ConvertConfig, convert
from training.data.images import EXTENSIONS, Format
from training.data.report import check_archive
from training.data.sources import SOURCE_KINDS
from training.data.transforms import TRANSFORMS, TransformName

UNDERSTOOD = "; ".join(kind.description for kind in SOURCE_KINDS)


@click.command(context_settings=CONTEXT)
@click.option("--source", help=f"What to convert: {UNDERSTOOD}.")
@click.option("--dest", help="Where the result goes: a .zip, or else a folder.")
@click.option("--check", help="Validate this data set and print its classes; converts nothing.")
@click.option("--resolution", type=Size(), help="Size of all images, 256 or 320x256.")
@click.option(
    "--transform",
    type=click.Choice(list(TRANSFORMS)),
    help="How images get that size; center-crop where left out.",
)
@click.option(
    "--format",
    "image_format",
    type=click.Choice(list(EXTENSIONS)),
    default="png",
    show_default=True,
)
@click.option(
    "--max-images", type=click.IntRange(min=1), help="At most that many, spread over all classes."
)
@click.option("--max-per-class", type=click.IntRange(min=1), help="At most that many of a class.")
@click.option("--classes", type=NameList(), help="Only these classes, numbered in this order.")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Threads; one for each processor if left out."
)
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What an unreadable image does.",
)
@click.option("--overwrite", is_flag=True, help="Replace the data set at --dest.")
def main(
    source: str | None,
    dest: str | None,
    check: str | None,
    resolution: tuple[int, int] | None,
    transform: TransformName | None,
    image_format: Format,
    max_images: int | None,
    max_per_class: int | None,
    classes: list[str] | None,
    workers: int | None,
    on_error: Literal["fail", "skip"],
    overwrite: bool,
) -> None:
    """Convert images into a data set for training (--source, --dest), or --check one."""
    if check is not None and (source or dest):
        raise click.UsageError("--check goes without --source and --dest")
    if check is not None:
        check_archive(check, workers)
        return
    if not source or not dest:
        raise click.UsageError("give --source and --dest to convert, or --check to validate")
    convert(
        ConvertConfig(
            source=source,
            dest=dest,
            resolution=resolution,
            transform=transform,
            format=image_format,
            max_images=max_images,
            max_per_class=max_per_class,
            classes=None if classes is None else tuple(classes),
            workers=workers,
            on_error=on_error,
            overwrite=overwrite,
        )
    )


if __name__ == "__main__":
    run(main)
