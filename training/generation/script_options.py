"""Command-line options that the scripts which work with a finished network share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dnnlib.cli import Command, collect, device_option, switch
from training.generation.load import ComputeConfig
from training.generation.synthesis import StyleConfig
from training.networks.generator import NoiseMode


class Number(click.FloatRange):
    """A finite number; `click.FloatRange` lets NaN pass."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """`value` as a float within the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"takes a finite number, found {value!r}", param, ctx)
        return number


network_option = click.option(
    "--network", required=True, help="A network: file, URL, or run folder (its best network)."
)
results_option = click.option(
    "--outdir", required=True, type=click.Path(path_type=Path), help="Folder of the results."
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Arithmetic of the highest resolutions; all but fp32 change pixels a little.",
)


def network_options(command: Command) -> Command:
    """Which network, and where it is computed: `network`, `device`, `batch`."""
    return _apply(
        command,
        network_option,
        device_option,
        click.option(
            "--batch",
            type=click.IntRange(min=1),
            default=16,
            show_default=True,
            help="Images made at a time; changes memory and a little speed, not the images.",
        ),
    )


def compute_options(command: Command) -> Command:
    """How images are computed, as one argument: `compute`, a `ComputeConfig`."""
    return _apply(
        command,
        precision_option,
        switch("--cuda-graphs", "Launch a batch's kernels as one, on CUDA devices."),
        collect("compute", ComputeConfig),
    )


def style_options(noise_mode: NoiseMode = "const") -> Callable[[Command], Command]:
    """How latents become images, as one argument: `style`, a `StyleConfig`."""
    return lambda command: _apply(
        command,
        click.option(
            "--trunc",
            type=Number(min=-10, max=10),
            default=1.0,
            show_default=True,
            help="Truncation psi: below 1 images are more alike and more faithful.",
        ),
        click.option(
            "--trunc-center",
            type=click.Choice(["global", "class"]),
            default="global",
            show_default=True,
            help="Truncate towards the mean style of all images, or of the image's class.",
        ),
        click.option(
            "--noise-mode",
            type=click.Choice(["const", "random", "none"]),
            default=noise_mode,
            show_default=True,
            help="Per-pixel noise: one for all images, another for every image, or none.",
        ),
        collect("style", StyleConfig),
    )


def _apply(command: Command, *options: Callable[[Command], Command]) -> Command:
    """Decorate so that --help lists the options in this order."""
    for option in reversed(options):
        command = option(command)
    return command
