"""What tests run in several processes; importable by the processes themselves."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from training_helpers import batches

from torch_utils.distributed import check_equal, sum_
from torch_utils.stats import Stats
from torch_utils.world import World
from training.config import TrainingConfig
from training.data.loader import Batch
from training.networks.generator import SynthesisLayer
from training.state import TrainingState
from training.trainer import Trainer


def share_of_batches(config: TrainingConfig, world: World) -> Iterator[Batch]:
    """This process's images of each batch."""
    for batch in batches(config):
        n = len(batch.images) // world.size
        ours = slice(world.rank * n, (world.rank + 1) * n)
        yield Batch(batch.images[ours].to(world.device), batch.labels[ours].to(world.device))


def make_trainer(world: World, config: TrainingConfig) -> Trainer:
    state = TrainingState(config, world.device)
    labels = torch.arange(16) % max(config.facts.num_classes, 1)
    return Trainer(config, state, share_of_batches(config, world), labels, world, Stats(world))


def without_noise(
    layer: nn.Module, inputs: tuple[torch.Tensor, torch.Tensor, str]
) -> tuple[torch.Tensor, torch.Tensor, str]:
    return (*inputs[:2], "none")


def sums(world: World) -> int:
    """The ranks from 1 summed up on the device, and ten times that on the host."""
    on_device = torch.tensor([world.rank + 1.0], device=world.device)
    on_host = torch.tensor(10 * (world.rank + 1))
    sum_(on_device, world)
    sum_(on_host, world)
    return int(on_device) + int(on_host)


def first_gradients(world: World, config: TrainingConfig, folder: Path) -> int:
    """Save the shared gradients and the statistics of each phase's first update."""
    results = {}
    for index in range(len(make_trainer(world, config).phases)):
        trainer = make_trainer(world, config)  # anew: a step of Adam enlarges what is rounded
        for layer in trainer.state.players.G.modules():
            if isinstance(layer, SynthesisLayer):  # its noise differs between processes
                layer.register_forward_pre_hook(without_noise)
        phase = trainer.phases[index]
        torch.manual_seed(5)
        (draw,) = trainer.draw(next(trainer.data), 1)
        trainer.update(phase, draw)
        gradients = [p.grad for p in phase.trained if p.grad is not None]
        stats = {name: mean for name, (mean, _) in trainer.stats.collect().items()}
        results[phase.name] = {"gradients": gradients, "stats": stats}
    torch.save(results, folder / f"{world.size}-{world.rank}.pt")
    return 0


def final_state(world: World, config: TrainingConfig, steps: int, folder: Path) -> int:
    """Save where `steps` steps lead to."""
    trainer = make_trainer(world, config)
    for _ in range(steps):
        trainer.step()
    check_equal(trainer.state.players.state_dict(), world)
    torch.save(trainer.state.state_dict(), folder / f"{world.size}-{world.rank}.pt")
    return 0


def fall_apart(world: World, config: TrainingConfig) -> int:
    """One bit of one weight of one process flips."""
    trainer = make_trainer(world, config)
    trainer.step()
    if world.rank == 1:
        weight = trainer.state.players.D.b4.out.weight.data.view(-1)
        weight[3] = weight[3].nextafter(torch.tensor(9.0))
    check_equal(trainer.state.players.state_dict(), world)
    return 0


def die(world: World, config: TrainingConfig) -> int:
    """One process is killed in the middle of training."""
    trainer = make_trainer(world, config)
    for _ in range(10_000):
        trainer.step()
        if world.rank == 1 and trainer.state.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return 0
