"""Open a local web page to play with a trained network."""

from __future__ import annotations

import click

from dnnlib.cli import CONTEXT, run
from training.explore.explorer import ExplorerConfig
from training.explore.server import HOSTS, ServerConfig, explore
from training.networks.precision import Precision


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
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where images are computed.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Arithmetic of the highest resolutions.",
)
@click.option("--no-browser", is_flag=True, help="Print the page's address and open nothing.")
def main(
    network: str, port: int, host: str, device: str, precision: Precision, no_browser: bool
) -> None:
    """Open a local web page to play with NETWORK, a file, a URL or a run's folder.

    Seeds, classes by name, mixtures of two, truncation, noise and grids, with pictures to download
    and the command line of generate.py that makes them. Nothing leaves this machine.
    """
    explore(
        ServerConfig(host=host, port=port, browser=not no_browser),
        ExplorerConfig(network=network, device=device, precision=precision),
    )


if __name__ == "__main__":
    run(main)
