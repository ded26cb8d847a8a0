"""Open a local web page to play with a trained network."""

from __future__ import annotations

import click

from dnnlib.cli import CONTEXT, collect, device_option, run
from training.explore.explorer import ExplorerConfig
from training.explore.server import HOSTS, ServerConfig, explore
from training.generation.script_options import precision_option


@click.command(context_settings=CONTEXT)
@click.argument("network")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7860,
    show_default=True,
    help="Where the page is served; 0 takes a free one.",
)
@click.option(
    "--host", default=HOSTS[0], show_default=True, help="This machine under one of its own names."
)
@device_option
@precision_option
@click.option("--no-browser", is_flag=True, help="Print the page's address and open nothing.")
@collect("explorer", ExplorerConfig)
def main(explorer: ExplorerConfig, port: int, host: str, no_browser: bool) -> None:
    """Open a local web page to play with NETWORK, a file, a URL or a run's folder.

    Seeds, classes by name, mixtures of two, truncation, noise and grids, with pictures to download
    and the command line of generate.py that makes them. Nothing leaves this machine.
    """
    explore(ServerConfig(host=host, port=port, browser=not no_browser), explorer)


if __name__ == "__main__":
    run(main)
