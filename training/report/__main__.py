"""Write report.html of a run."""

from __future__ import annotations

from pathlib import Path

import click

from dnnlib.cli import CONTEXT, run
from dnnlib.logs import logger
from training.report.run_report import write_report


@click.command(context_settings=CONTEXT)
@click.argument("run_dir", type=click.Path(path_type=Path))
def main(run_dir: Path) -> None:
    """Write RUN_DIR/report.html: curves, pictures through time, configuration, provenance.

    A run keeps its page up to date by itself. This adds the pictures of snapshots that the page
    lacks, because an older version wrote them or the page was removed.
    """
    logger.info(f"Report: {write_report(run_dir)}")


if __name__ == "__main__":
    run(main)
