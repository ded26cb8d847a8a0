"""Write a trained network's generator as ONNX or as a program of torch.export."""

from __future__ import annotations

from pathlib import Path

import click

from dnnlib.cli import CONTEXT, collect, run
from training.generation.export import ExportConfig, export_network
from training.generation.script_options import network_option, style_options


class BatchSize(click.ParamType[int | None]):
    """A whole number, or 'dynamic' (None)."""

    name = "dynamic|N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """A number from 1, or None for `dynamic`."""
        text = str(value)
        if text != "dynamic" and not (text.isdecimal() and int(text) > 0):
            self.fail(f"takes 'dynamic' or a number from 1, found {value!r}", param, ctx)
        return None if text == "dynamic" else int(text)


@click.command(context_settings=CONTEXT)
@network_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The file: .onnx, or .pt2 for torch.export.",
)
@click.option("--onnx", "kind", flag_value="onnx", help="ONNX, whatever the file's suffix.")
@click.option("--torch-export", "kind", flag_value="torch-export", help="torch.export, likewise.")
@click.option(
    "--batch",
    type=BatchSize(),
    default="dynamic",
    show_default=True,
    help="Images at a time; dynamic takes any number.",
)
@click.option(
    "--pixels",
    type=click.Choice(["float32", "uint8"]),
    default="float32",
    show_default=True,
    help="Images as float32 about -1..1, or as uint8 in 0..255.",
)
@style_options()
@collect("config", ExportConfig)
def main(config: ExportConfig) -> None:
    """Write a network's generator as a file that runs without this project.

    Its inputs are z [N, z_dim], N(0, 1), and with classes c [N, classes], one-hot or mixed; its
    output is images [N, channels, height, width].
    """
    export_network(config)


if __name__ == "__main__":
    run(main)
