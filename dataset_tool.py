"""Convert images into a data set for training, or check one."""

from __future__ import annotations

from collections.abc import Mapping

import click

from dnnlib.cli import CONTEXT, Size, config_options, run
from dnnlib.config import naming_options
from training.data.check import CheckConfig, check
from training.data.convert import ConvertConfig, convert
from training.data.sources import SOURCE_KINDS, SourceOptions

UNDERSTOOD = "; ".join(kind.description for kind in SOURCE_KINDS)


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
        check(_check_config(checked, given))
    elif source and dest:
        convert(_convert_config(source, dest, given))
    else:
        raise click.UsageError("give --source and --dest to convert, or --check to validate")


def _check_config(path: str, given: Mapping[str, object]) -> CheckConfig:
    if others := sorted(given.keys() - CheckConfig.model_fields):
        raise click.UsageError(f"--check goes without --{others[0].replace('_', '-')}")
    with naming_options():
        return CheckConfig.model_validate({**given, "path": path})


def _convert_config(source: str, dest: str, given: Mapping[str, object]) -> ConvertConfig:
    of_source = {name: value for name, value in given.items() if name in SourceOptions.model_fields}
    others = {name: value for name, value in given.items() if name not in of_source}
    with naming_options():
        options = SourceOptions.model_validate(of_source)
        places = {"source": source, "dest": dest, "options": options}
        return ConvertConfig.model_validate(others | places)


if __name__ == "__main__":
    run(main)
