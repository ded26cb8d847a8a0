"""Tiny untrained networks for the tests of scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import pytest
import torch

from dnnlib.cli import run
from training.config import DataFacts, TrainingConfig
from training.data.dataset import DataConfig
from training.networks.generator import SynthesisLayer
from training.options import make_config, resolve_options
from training.players import Players
from training.snapshots import save_network

CLASSES = ("cat", "dog", "wild")


def tiny_config(
    class_names: Sequence[str] = CLASSES,
    data: str = "no-such-data.zip",
    num_channels: int = 1,
    size: tuple[int, int] = (16, 16),
) -> TrainingConfig:
    """A small network for pictures of `size` (width, height); no class names: unconditional."""
    facts = DataFacts(
        width=size[0],
        height=size[1],
        num_channels=num_channels,
        num_classes=len(class_names),
        class_names=tuple(class_names),
        num_images=100,
        digest="0" * 64,
    )
    given = {"channel_base": 128, "channel_max": 8, "latent_dim": 16, "embed_dim": 16}
    return make_config(resolve_options("tiny", given, *size), DataConfig(path=data), facts)


def write_network(path: Path, config: TrainingConfig) -> Path:
    """An untrained network file whose noise and classes can be seen in its pictures."""
    players = Players(config)
    generator = players.G_ema
    for layer in generator.modules():
        if isinstance(layer, SynthesisLayer):
            layer.noise_strength.fill_(0.2)
    generator.mapping.w_avg.copy_(torch.linspace(-1, 1, generator.mapping.w_dim))
    save_network(path, players, config, nimg=5000)
    return path


def exit_status(command: click.Command, *args: object) -> int:
    """Exit status of a script with these arguments."""
    with pytest.raises(SystemExit) as ended:
        run(command, [str(argument) for argument in args])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def complaint(capsys: pytest.CaptureFixture[str], command: click.Command, *args: object) -> str:
    """The one line that a script says about wrong input, for which it exits with status 2."""
    capsys.readouterr()
    assert exit_status(command, *args) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: ")
    return lines[0]
