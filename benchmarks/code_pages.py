"""The pages that are drawn from the code: docs/options.md and docs/map.md.

python -m benchmarks.code_pages
"""

from __future__ import annotations

import click

from benchmarks import map_page, options_page
from benchmarks.pages import replace_tables
from dnnlib.cli import CONTEXT, run
from dnnlib.logs import logger


@click.command(context_settings=CONTEXT)
def main() -> None:
    """Draw the tables of docs/options.md and docs/map.md anew."""
    for module in (options_page, map_page):
        replace_tables(module.PAGE, module.sections())
        logger.info(f"Page: {module.PAGE}")


if __name__ == "__main__":
    run(main)
