"""The training step: each player in turn."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from torch_utils.seeding import reseed
from torch_utils.stats import Stats
from torch_utils.world import World
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
        """`dataset_labels` int64 `[N]` is what labels to generate from are drawn from."""
        self.config, self.state, self.data = config, state, data
        self.world, self.stats = world, stats
        self.dataset_labels = dataset_labels.to(world.device)
        self.phases = make_phases(state.players, config.losses)

    def step(self) -> None:
        """One batch: every phase whose turn it is, then averages and horizons."""
        reseed(self.config.seed, self.world.rank, self.state.nimg)  # resume needs no RNG state
        batch = next(self.data)
        for phase in self.phases:
            if self.state.step % phase.interval == 0:
                self.update(phase, batch)
        self.state.after_step()

    def update(self, phase: Phase, batch: Batch) -> None:
        """Move the player of `phase` along its gradient, accumulated over micro-batches."""
        optimizer = self.state.optimizers[phase.name[0]]
        optimizer.zero_grad(set_to_none=True)
        phase.player.requires_grad_(True)
        draw = self.draw(batch)
        for part in draw.split(self.config.batch_gpu):
            loss = phase.loss(part, self.stats)
            (loss * (len(part.images) / len(draw.images))).backward()  # type: ignore[no-untyped-call]
        phase.player.requires_grad_(False)
        self.stats.report("Gradients/replaced", replace_non_finite_gradients(phase.player))
        optimizer.step()

    def draw(self, batch: Batch) -> Draw:
        """Real images in ±1, and fresh latents whose labels follow those of the data set."""
        n, device = len(batch.images), self.world.device
        picks = torch.randint(len(self.dataset_labels), [n], device=device)
        return Draw(
            images=batch.images.float() / 127.5 - 1,
            labels=batch.labels,
            z=torch.randn(n, self.state.players.G.z_dim, device=device),
            fake_labels=self.dataset_labels[picks],
        )


def replace_non_finite_gradients(player: nn.Module) -> Tensor:
    """nan → 0, ±inf → ±1e5 in place; returns how many there were, without synchronising."""
    gradients = [p.grad for p in player.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    count = flat.isfinite().logical_not().sum()
    flat.nan_to_num_(nan=0.0, posinf=1e5, neginf=-1e5)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    torch._foreach_copy_(
        gradients,
        [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)],
    )
    return count
