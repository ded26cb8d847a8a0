"""Layers whose weight has spectral norm 1 (Miyato 2018, 1802.05957, section 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FIRST_STEPS = 20  # of power iteration, so that the first estimate is a good one


class SpectralLayer(nn.Module):
    """A weight `[out, ...]`, divided by its largest singular value as a matrix `[out, the rest]`.

    `u` follows the first left singular vector by power iteration (algorithm 1). It moves in
    `iterate` alone, so that a pass changes nothing and may be repeated.
    """

    u: Tensor

    def __init__(self, shape: Sequence[int], gain: float) -> None:
        """The weight is drawn after Glorot 2010, times `gain`."""
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(*shape), gain))
        self.register_buffer("u", F.normalize(torch.randn(shape[0]), dim=0))
        for _ in range(_FIRST_STEPS):
            self.iterate()

    @torch.no_grad()
    def iterate(self) -> None:
        """One step of power iteration."""
        w = self.weight.flatten(1)
        v = F.normalize(self.u @ w, dim=0)
        self.u.copy_(F.normalize(w @ v, dim=0))

    def normalised_weight(self) -> Tensor:
        """W / σ with σ = uᵀ W v, v = Wᵀ u / ‖Wᵀ u‖, that is σ = ‖Wᵀ u‖; differentiable in W."""
        largest: Tensor = torch.linalg.vector_norm(self.u @ self.weight.flatten(1))
        return self.weight / largest


class SpectralConv2d(SpectralLayer):
    """`[N, in_channels, H, W]` → `[N, out_channels, H, W]`, padded with zeros."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, gain: float = math.sqrt(2)
    ) -> None:
        super().__init__((out_channels, in_channels, kernel_size, kernel_size), gain)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """`x` `[N, in_channels, H, W]`, in whose dtype the layer computes."""
        weight, bias = self.normalised_weight().to(x.dtype), self.bias.to(x.dtype)
        return F.conv2d(x, weight, bias, padding=self.weight.shape[2] // 2)


class SpectralLinear(SpectralLayer):
    """`[N, in_features]` → `[N, out_features]`."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__((out_features, in_features), 1.0)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """`x` float32 `[N, in_features]`."""
        return F.linear(x, self.normalised_weight(), self.bias)


def iterate_spectral_norms(network: nn.Module) -> None:
    """One step of power iteration in every layer of `network` that has a spectral norm."""
    for module in network.modules():
        if isinstance(module, SpectralLayer):
            module.iterate()
