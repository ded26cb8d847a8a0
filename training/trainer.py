"""The training step: each player in turn."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from torch_utils.distributed import average_flat, copy_flat_
from torch_utils.seeding import reseed
from torch_utils.stats import Stats
from torch_utils.world import World
from training.backward import Backward, CapturedBackward, EagerBackward
from training.config import TrainingConfig
from training.data.loader import Batch
from training.phases import Draw, Phase, make_phases
from training.state import TrainingState


class Trainer:
    """Moves a training state forward, batch by batch."""

    def __init__(
        self,
        config: TrainingConfig,
        state: TrainingState,
        data: Iterator[Batch],
        dataset_labels: Tensor,
        world: World,
        stats: Stats,
    ) -> None:
        """`data` gives this process's share of each batch.

        `dataset_labels` int64 `[N]` is what labels to generate from are drawn from.
        """
        self.config, self.state, self.data = config, state, data
        self.world, self.stats = world, stats
        self.dataset_labels = dataset_labels.to(world.device)
        self.phases = make_phases(state.players, config.losses)
        make_backward = CapturedBackward if config.run.cuda_graphs else EagerBackward
        weight = config.batch_gpu * world.size / config.batch
        self.backward: dict[str, Backward] = {
            phase.name: make_backward(phase, weight, state.players, stats) for phase in self.phases
        }

    def step(self) -> None:
        """One batch: every phase whose turn it is, then averages and horizons."""
        seed, nimg = self.config.seed, self.state.nimg
        batch = next(self.data)
        phases = [phase for phase in self.phases if self.state.step % phase.interval == 0]
        reseed(seed, nimg)  # resume needs no generator state
        draws = self.draw(batch, len(phases))
        reseed(seed, self.world.rank, nimg)
        for phase, draw in zip(phases, draws, strict=True):
            self.update(phase, draw)
        reseed(seed, "after", nimg)
        self.state.after_step()

    def draw(self, batch: Batch, count: int) -> list[Draw]:
        """Real images in ±1, each time with fresh latents whose labels follow the data set's.

        Latents are drawn for all processes and cut, so that their number changes nothing.
        """
        device, rank = self.world.device, self.world.rank
        images = batch.images.float() / 127.5 - 1
        ours = slice(rank * len(images), (rank + 1) * len(images))
        draws = []
        for _ in range(count):
            picks = torch.randint(len(self.dataset_labels), [self.config.batch], device=device)
            z = torch.randn(self.config.batch, self.state.players.G.z_dim, device=device)
            fake_labels = self.dataset_labels[picks[ours]]
            draws.append(Draw(images, batch.labels, z[ours], fake_labels))
        return draws

    def update(self, phase: Phase, draw: Draw) -> None:
        """Move the player of `phase` along its gradient, accumulated over micro-batches."""
        backward = self.backward[phase.name]
        phase.wake()
        backward.begin()
        for part in draw.split(self.config.batch_gpu):
            backward.add(part)
        self.stats.report("Gradients/replaced", self.share_gradients(phase))
        self.state.optimizers[phase.name[0]].step()
        phase.sleep()

    def share_gradients(self, phase: Phase) -> Tensor:
        """Average gradients and running means over all processes; make them finite.

        nan → 0, ±inf → ±1e5; returns how many gradients there were of them, without synchronising.
        """
        gradients = [p.grad for p in phase.trained if p.grad is not None]
        tensors = gradients + self.state.players.running_means()
        flat = average_flat(tensors, self.world)
        own = flat[: sum(gradient.numel() for gradient in gradients)]
        count = own.isfinite().logical_not().sum()
        own.nan_to_num_(nan=0.0, posinf=1e5, neginf=-1e5)
        copy_flat_(tensors, flat)
        return count
