"""Small training set-ups for tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch

from torch_utils.stats import Stats
from torch_utils.world import World
from training.config import DataFacts, TrainingConfig
from training.data.dataset import DataConfig
from training.data.loader import Batch
from training.options import make_config, resolve_options
from training.presets import PresetName
from training.state import TrainingState
from training.trainer import Trainer

CPU = torch.device("cpu")
SMALL = {
    "kimg": 1.0,
    "batch": 8,
    "channel_base": 64,
    "channel_max": 8,
    "latent_dim": 8,
    "embed_dim": 8,
    "t_min": 10,
}


def small_config(num_classes: int = 3, cfg: PresetName = "tiny", **given: Any) -> TrainingConfig:
    """A run of tiny networks on 8x8 grey images."""
    facts = DataFacts(
        width=8,
        height=8,
        num_channels=1,
        num_classes=num_classes,
        class_names=tuple("abc"[:num_classes]),
        num_images=16,
        digest="none",
    )
    options = resolve_options(cfg, SMALL | given, 8, 8)
    return make_config(options, DataConfig(path="none"), facts)


def batches(config: TrainingConfig) -> Iterator[Batch]:
    """The same random batch, over and over."""
    fixed = torch.Generator().manual_seed(1)
    images = torch.randint(256, [config.batch, 1, 8, 8], generator=fixed).byte()
    labels = torch.arange(config.batch) % max(config.facts.num_classes, 1)
    while True:
        yield Batch(images, labels)


def small_trainer(config: TrainingConfig) -> Trainer:
    """A trainer at the beginning of its run."""
    state = TrainingState(config, CPU)
    labels = torch.arange(16) % max(config.facts.num_classes, 1)
    return Trainer(config, state, batches(config), labels, World(CPU), Stats(World(CPU)))


def straight_and_resumed(
    config: TrainingConfig, before: int, after: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What a run knows after `before` + `after` steps, at one go and with an interruption between.

    The last is what was saved there.
    """
    straight = small_trainer(config)
    for _ in range(before + after):
        straight.step()
    first, second = small_trainer(config), small_trainer(config)
    for _ in range(before):
        first.step()
    saved = copy.deepcopy(first.state.state_dict())
    second.state.load_state_dict(saved)
    for _ in range(after):
        second.step()
    return straight.state.state_dict(), second.state.state_dict(), saved
