"""Write a published network pickle as a network file of this project."""

from __future__ import annotations

from pathlib import Path

import click

from dnnlib.cli import CONTEXT, run
from training.snapshots import convert_network


@click.command(context_settings=CONTEXT)
@click.argument("source", metavar="IN.pkl")
@click.argument("dest", metavar="OUT.safetensors", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace OUT.safetensors where it is there.")
def main(source: str, dest: Path, overwrite: bool) -> None:
    """Write IN.pkl, a StyleGAN2-ADA, Diffusion-GAN or DuDGAN network (file or URL), as a network
    file of this project. No code inside the pickle is run."""
    convert_network(source, dest, overwrite)


if __name__ == "__main__":
    run(main)
