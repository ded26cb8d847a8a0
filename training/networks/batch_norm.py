"""Batch normalisation whose gain and bias follow the class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConditionalBatchNorm(nn.Module):
    """Class-conditional batch normalisation (Dumoulin 2017, 1610.07629); `c_dim` 0: without.

    In training mode features are normalised by the statistics of their own batch, which are then
    forgotten. In evaluation mode by `running_mean` and `running_var`, so that an image depends on
    its own latent alone. These move in training mode where `momentum` says by how much.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, c_dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(max(c_dim, 1), channels))
        self.bias = nn.Parameter(torch.zeros(max(c_dim, 1), channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.momentum: float | None = None

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """`[N, channels, H, W]`; `c` float32 `[N, c_dim]` may mix classes, None without."""
        remembers = not self.training or self.momentum is not None
        normalised = F.batch_norm(
            x.float(),
            self.running_mean if remembers else None,
            self.running_var if remembers else None,
            training=self.training,
            momentum=self.momentum or 0.0,
        )
        gain, bias = (p if c is None else c @ p for p in (self.gain, self.bias))
        shifted = torch.addcmul(bias[:, :, None, None], normalised, gain[:, :, None, None])
        return shifted.to(x.dtype)
