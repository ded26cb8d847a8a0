"""The training step: all players in turn."""

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
from training.networks.spectral import iterate_spectral_norms
from training.phases import Draw, Phase, in_turns, make_phases
from training.schedules import UPDATE_INTERVAL
from training.state import TrainingState, average_beta

# Keeps the gradients of half precision from vanishing (Micikevicius 2018, 1710.03740, section 3.2).
_LOSS_SCALE = 128.0
_SETTLING = 20  # batches that G_ema's statistics are a running mean of, about


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
        self.turns = in_turns(self.phases, config.optimizer.joint_gc)
        self._loss_scale = _LOSS_SCALE if config.run.precision == "fp16" else 1.0
        self._graphs = torch.cuda.graph_pool_handle() if config.run.cuda_graphs else None
        self.backward = {phase.name: self._make_backward(phase) for phase in self.phases}

    def _make_backward(self, phase: Phase) -> Backward:
        weight = self._loss_scale * self.config.batch_gpu * self.world.size / self.config.batch
        work = EagerBackward(phase, weight, self.state.players, self.stats)
        return work if self._graphs is None else CapturedBackward(work, self._graphs)

    def step(self) -> None:
        """One batch: every phase whose turn it is, then averages and horizons."""
        seed, nimg = self.config.seed, self.state.nimg
        batch = next(self.data)
        due = [[p for p in turn if self.state.step % p.interval == 0] for turn in self.turns]
        reseed(seed, nimg)  # resume needs no generator state
        draws = self.draw(batch, sum(map(len, due)))
        reseed(seed, self.world.rank, nimg)
        self.prepare(draws[0])
        for turn in due:
            for phase in turn:
                self.differentiate(phase, draws.pop(0))
            for phase in turn:
                self.move(phase)
        reseed(seed, "after", nimg)
        self.state.after_step()

    def prepare(self, draw: Draw) -> None:
        """Bring up to date what layers normalise by, where there are such layers.

        The statistics of G's moving average follow it at its own pace, or over some batches where
        that is slower than need be.
        """
        state = self.state
        iterate_spectral_norms(state.players.D)
        if state.step % UPDATE_INTERVAL == 0:
            own_pace = 1 - average_beta(self.config, state.nimg) ** UPDATE_INTERVAL
            first = 1 / (state.step // UPDATE_INTERVAL + 1)
            part = draw.split(self.config.batch_gpu)[0]
            momentum = max(own_pace, first, 1 / _SETTLING)
            state.players.settle_average(part.z, part.fake_labels, momentum)

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
        """A turn of one phase alone."""
        self.differentiate(phase, draw)
        self.move(phase)

    def differentiate(self, phase: Phase, draw: Draw) -> None:
        """The gradient of a phase's loss, accumulated over this process's micro-batches."""
        backward = self.backward[phase.name]
        phase.wake()
        backward.begin()
        for part in draw.split(self.config.batch_gpu):
            backward.add(part)
        phase.sleep()

    def move(self, phase: Phase) -> None:
        """Let the learners of `phase` take a step along the gradient of all processes."""
        self.stats.report("Gradients/replaced", self.share_gradients(phase))
        for learner in phase.learners:
            self.state.optimizers[learner].step()

    def share_gradients(self, phase: Phase) -> Tensor:
        """Average gradients and running means over all processes; make them finite.

        nan → 0, ±inf → ±1e5; returns how many there were, a scalar, without synchronising.
        """
        gradients = [p.grad for p in phase.trained if p.grad is not None]
        tensors = gradients + self.state.players.running_means()
        flat = average_flat(tensors, self.world)
        own = flat[: sum(gradient.numel() for gradient in gradients)]
        if self._loss_scale != 1:
            own.div_(self._loss_scale)
        count = own.isfinite().logical_not().sum()
        own.nan_to_num_(nan=0.0, posinf=1e5, neginf=-1e5)
        copy_flat_(tensors, flat)
        return count
