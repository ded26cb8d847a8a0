"""How a network is told the timestep of its noise."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

TimestepEmbeddingKind = Literal["raw", "scaled", "fourier"]
NUM_FREQUENCIES = 16


class TimestepEmbedding(nn.Module):
    """Timesteps int64 `[N]` in 0..t_max → float32 `[N, dim]`.

    `raw` is the integer itself (the published networks), `scaled` is t / t_max, `fourier` are
    sines and cosines at frequencies from 1 to 1 / 10000 (Vaswani 2017, section 3.5), together of
    unit norm like a one-hot label.
    """

    def __init__(self, kind: TimestepEmbeddingKind, t_max: int) -> None:
        super().__init__()
        self.kind, self.t_max = kind, t_max
        self.dim = 2 * NUM_FREQUENCIES if kind == "fourier" else 1

    def forward(self, timesteps: Tensor) -> Tensor:
        """Of `timesteps` int64 `[N]`: float32 `[N, dim]`."""
        t = timesteps.reshape(-1, 1).float()
        if self.kind == "raw":
            return t
        if self.kind == "scaled":
            return t / self.t_max
        exponents = torch.arange(NUM_FREQUENCIES, device=t.device) / NUM_FREQUENCIES
        angles = t * torch.exp(-math.log(10000.0) * exponents)
        return torch.cat([angles.sin(), angles.cos()], dim=1) / math.sqrt(NUM_FREQUENCIES)


def with_timesteps(c: Tensor, embed: TimestepEmbedding | None, timesteps: Tensor | None) -> Tensor:
    """The condition of a discriminator: `c` `[N, c_dim]`, and beside it what `embed` makes of
    `timesteps` int64 `[N]`. Without `embed` it is `c` alone.
    """
    if embed is None:
        return c
    assert timesteps is not None, "a noise-aware discriminator needs timesteps"
    return torch.cat([c, embed(timesteps)], dim=1)
