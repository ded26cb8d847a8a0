"""Where a training run stands: everything that a step depends on."""

from __future__ import annotations

from typing import Any

import torch

from training.config import TrainingConfig
from training.networks.precision import set_precision
from training.players import Players
from training.schedules import UPDATE_INTERVAL


class TrainingState:
    """Players, optimisers and counters; `nimg` images and `step` steps so far."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self.config = config
        self.nimg = 0
        self.step = 0
        self.seconds = 0.0  # spent training so far
        self.best: dict[str, float] = {}  # rank of the best network by metric, lower is better
        self.scored = True  # False: the newest snapshot still waits for its scores
        run = config.run
        self.players = Players(config).to(device)
        if run.nhwc:
            self.players.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        set_precision(self.players, run.precision, run.low_resolutions)
        self.optimizers = make_optimizers(config, self.players)

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0..1."""
        return self.nimg / (self.config.run.kimg * 1000)

    def after_step(self) -> None:
        """What follows the players' turns: G's average, the horizons of D and C, the counters."""
        config, players = self.config, self.players
        self.nimg += config.batch
        self.step += 1
        players.update_average(average_beta(config, self.nimg))
        if self.step % UPDATE_INTERVAL == 0:
            players.advance(config.batch * UPDATE_INTERVAL, self.progress)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, for `torch_utils.checkpoint.save_state`."""
        return {
            "config": self.config.to_json(),
            "nimg": self.nimg,
            "step": self.step,
            "seconds": self.seconds,
            "best": dict(self.best),
            "scored": self.scored,
            "players": self.players.state_dict(),
            "optimizers": {name: opt.state_dict() for name, opt in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.nimg, self.step = state["nimg"], state["step"]
        self.seconds, self.best = state["seconds"], dict(state["best"])
        self.scored = state.get("scored", True)
        self.players.load_state_dict(state["players"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            _match_layout(optimizer)


def _match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Lay moments out as their parameters are: fused kernels go through both as memory has them.

    A run that goes on channels-last, or no longer so, has saved them the other way.
    """
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if moment.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(moment)


def average_beta(config: TrainingConfig, nimg: int) -> float:
    """Decay of G's moving average a step: 0.5^(batch / half-life in images)."""
    half_life = config.ema_kimg * 1000
    if config.ema_rampup is not None:
        half_life = min(half_life, nimg * config.ema_rampup)
    return float(0.5 ** (config.batch / max(half_life, 1e-8)))


def make_optimizers(config: TrainingConfig, players: Players) -> dict[str, torch.optim.Optimizer]:
    """Adam for G, D and learned noise, AdamW for C, by the names of `Players.learners`.

    Where a regulariser takes every k-th step of its own, learning rate and betas are those of
    k / (k + 1) steps (StyleGAN2, appendix B).
    """
    losses, settings = config.losses, config.optimizer
    g_ratio = lazy_ratio(losses.pl_interval) if losses.pl_weight > 0 else 1.0
    d_ratio = lazy_ratio(losses.r1_interval) if losses.r1_gamma > 0 else 1.0
    # Adam without weight decay is AdamW with 0.
    table = {
        "G": (settings.lr_g, settings.betas, g_ratio, 0.0),
        "D": (settings.lr_d, settings.betas, d_ratio, 0.0),
        "C": (settings.lr_c, settings.betas_c, 1.0, settings.weight_decay_c),
        "local": (settings.lr_local, settings.betas_local, 1.0, 0.0),
    }
    optimizers: dict[str, torch.optim.Optimizer] = {}
    for name, learner in players.learners().items():
        lr, (beta1, beta2), ratio, weight_decay = table[name]
        optimizers[name] = torch.optim.AdamW(
            learner.parameters(),
            lr=lr * ratio,
            betas=(beta1**ratio, beta2**ratio),
            eps=1e-8,
            weight_decay=weight_decay,
            fused=True,
        )
    return optimizers


def lazy_ratio(interval: int) -> float:
    """interval / (interval + 1)."""
    return interval / (interval + 1)
