"""A small discriminator of two segments in a space of many dimensions, trained until it knows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.diffusion import Diffusion
from training.objectives import discriminator_loss, generator_loss

DIMENSIONS = 32
_WIDTH, _STEPS, _BATCH, _NUM_EXAMINED = 64, 500, 256, 20_000
DrawTimesteps = Callable[[int], Tensor]


@dataclass(frozen=True)
class Verdict:
    """What a critic has learnt, and what G would learn from it.

    `jsd`: log 2 minus half of D's loss on new points, a lower bound of the divergence in nats.
    `gradient`: mean norm of the gradient of G's loss softplus(-D(x̃)) in x̃. `saturating`: the same
    of the original loss -softplus(D(x̃)). `alignment`: cosine of the former with the way to the real
    segment, averaged over points.
    """

    jsd: float
    gradient: float
    saturating: float
    alignment: float


class Critic(nn.Module):
    """Points `[N, 32]` and t / T `[N]` to logits `[N, 1]`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(DIMENSIONS + 1, _WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(_WIDTH, _WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(_WIDTH, 1),
        )

    def forward(self, points: Tensor, time: Tensor) -> Tensor:
        """Logits `[N, 1]` of points `[N, 32]` at times `[N]`, both float32."""
        logits: Tensor = self.layers(torch.cat([points, time[:, None]], dim=1))
        return logits


def segment(count: int, distance: float) -> Tensor:
    """Points (distance, z, 0, ...), z uniform in ±1, `[count, 32]`."""
    points = torch.zeros(count, DIMENSIONS)
    points[:, 0] = distance
    points[:, 1] = 2 * torch.rand(count) - 1
    return points


def train_critic(distance: float, diffusion: Diffusion, draw: DrawTimesteps, seed: int) -> Verdict:
    """Train D on the segment at 0 and the one at `distance`, both noisy at timesteps of `draw`."""
    torch.manual_seed(seed)
    critic = Critic()
    optimizer = torch.optim.Adam(critic.parameters(), 2e-3, betas=(0.0, 0.99))

    def judge(points: Tensor) -> Tensor:
        timesteps = draw(len(points))
        noisy = diffusion.add_noise(points[:, :, None, None], timesteps)[:, :, 0, 0]
        logits: Tensor = critic(noisy, timesteps / diffusion.horizon)
        return logits

    for _ in range(_STEPS):
        loss = discriminator_loss(judge(segment(_BATCH, distance)), judge(segment(_BATCH, 0.0)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        loss = discriminator_loss(
            judge(segment(_NUM_EXAMINED, distance)), judge(segment(_NUM_EXAMINED, 0.0))
        )
    fakes = segment(_NUM_EXAMINED, distance).requires_grad_()
    logits = judge(fakes)
    (gradient,) = torch.autograd.grad(generator_loss(logits) * _NUM_EXAMINED, fakes)
    # d/dl of -softplus(l) is -σ(l), of softplus(-l) it is -σ(-l).
    saturating = gradient * logits.detach().exp()
    return Verdict(
        jsd=math.log(2) - float(loss) / 2,
        gradient=float(gradient.norm(dim=1).mean()),
        saturating=float(saturating.norm(dim=1).mean()),
        alignment=float((gradient[:, 0] / gradient.norm(dim=1)).mean()),
    )
