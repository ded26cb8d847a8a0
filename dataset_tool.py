"""Convert images into a data set for training, or check one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import click
from pydantic import ValidationError

from dnnlib import Config, UserError
from dnnlib.cli import CONTEXT, Size, config_options, run
from dnnlib.config import first_problem
from training.data.check import CheckConfig, check
from training.data.convert import ConvertConfig, convert
from training.data.sources import SOURCE_KINDS, SourceOptions

UNDERSTOOD = "; ".join(kind.description for kind in SOURCE_KINDS)
C = TypeVar("C", bound=Config)


@click.command(context_settings=CONTEXT)
@click.option("--source", help=f"What to convert: {UNDERSTOOD}.")
@click.option("--dest", help="Where the result goes: a zip if it ends with .zip, or else a folder.")
@click.option("--check", "checked", help="Validate this data set; converts nothing.")
@click.option("--resolution", type=Size(), help="Size of all images, 256 or 320x256. [their own]")
@config_options(ConvertConfig)
@click.option("--overwrite", is_flag=True, help="Replace the data set at --dest.")
@config_options(SourceOptions)
def main(
    source: str | None,
    dest: str | None,
    checked: str | None,
    resolution: tuple[int, int] | None,
    overwrite: bool,
    **options: object,  # those of ConvertConfig and SourceOptions, see there
) -> None:
    """Convert images into a data set for training (--source, --dest), or --check one.

    An interrupted conversion goes on when the same command is typed again.
    """
    options |= {"resolution": resolution, "overwrite": overwrite or None}
    given = {name: value for name, value in options.items() if value is not None}
    if checked is not None:
        if source or dest:
            raise click.UsageError("--check goes without --source and --dest")
        if others := sorted(given.keys() - CheckConfig.model_fields):
            raise click.UsageError(f"--check goes without --{others[0].replace('_', '-')}")
        check(_read(CheckConfig, given | {"path": checked}))
        return
    if not source or not dest:
        raise click.UsageError("give --source and --dest to convert, or --check to validate")
    of_source = {name: given.pop(name) for name in SourceOptions.model_fields if name in given}
    places = {"source": source, "dest": dest, "options": _read(SourceOptions, of_source)}
    convert(_read(ConvertConfig, given | places))


def _read(config: type[C], given: Mapping[str, object]) -> C:
    try:
        return config.model_validate(given)
    except ValidationError as error:
        name, _, rule = first_problem(error).partition(":")
        raise UserError(f"--{name.replace('_', '-')}:{rule}") from None


if __name__ == "__main__":
    run(main)
