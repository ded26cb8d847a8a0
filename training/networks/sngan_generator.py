"""SNGAN's generator: residual blocks with class-conditional batch normalisation.

Miyato 2018 (1802.05957, appendix B.4; conditional: 1802.05637), for any size that StyleGAN2's has.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dnnlib import Config
from training.networks.batch_norm import ConditionalBatchNorm
from training.networks.grid import channels_at, resolution_grid
from training.networks.layers import CastingConv2d


class SnganGeneratorConfig(Config):
    """What SNGAN's generator is made of; data gives it resolution, channels and classes."""

    kind: Literal["sngan"] = "sngan"
    z_dim: int = 128
    channel_base: int = 8192
    channel_max: int = 256

    @property
    def conv_clamp(self) -> None:
        """Features are not clamped."""
        return None


class SnganMapping(nn.Module):
    """Latents beside conditions: w is (z, c), one for all layers."""

    num_ws = 1
    w_avg: Tensor

    def __init__(self, z_dim: int, c_dim: int) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, z_dim + c_dim
        # The mean of z is known, and truncation leaves c alone: nothing to learn or to keep.
        self.register_buffer("w_avg", torch.zeros(self.w_dim), persistent=False)

    def forward(
        self,
        z: Tensor,
        c: Tensor,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        center: Tensor | None = None,
        update_emas: bool = False,
    ) -> Tensor:
        """`[N, z_dim]`, `[N, c_dim]` → `[N, 1, w_dim]`; arguments as of `MappingNetwork`.

        Truncation moves latents alone: the condition stays what was asked for.
        """
        z = z.float()
        if truncation_psi != 1 and truncation_cutoff != 0:
            middle = (self.w_avg if center is None else center).reshape(-1, self.w_dim)
            z = middle[:, : self.z_dim].lerp(z, truncation_psi)
        return torch.cat([z, c.float()], dim=1)[:, None]


class SnganUpBlock(nn.Module):
    """Two convolutions that double the resolution, each after normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, c_dim: int) -> None:
        super().__init__()
        self.dtype = torch.float32  # of its features; see training.networks.precision
        self.norm0 = ConditionalBatchNorm(in_channels, c_dim)
        self.conv0 = convolution(in_channels, out_channels, 3)
        self.norm1 = ConditionalBatchNorm(out_channels, c_dim)
        self.conv1 = convolution(out_channels, out_channels, 3)
        self.skip = convolution(in_channels, out_channels, 1, gain=1.0)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """`[N, in_channels, h, w]`, `[N, c_dim]` → `[N, out_channels, 2 h, 2 w]`."""
        x = x.to(self.dtype)
        h = self.conv0(enlarge(F.relu(self.norm0(x, c))))
        h = self.conv1(F.relu(self.norm1(h, c)))
        y: Tensor = h + enlarge(self.skip(x))  # 1x1: before or after is the same
        return y


class SnganSynthesis(nn.Module):
    """Latents with conditions to images, from the base grid up; blocks `b8`, `b16`, ..."""

    num_ws = 1

    def __init__(
        self,
        config: SnganGeneratorConfig,
        c_dim: int,
        width: int,
        height: int,
        img_channels: int,
    ) -> None:
        super().__init__()
        grid = resolution_grid(width, height)
        self.z_dim, self.c_dim, self.base = config.z_dim, c_dim, grid.size(4)
        channels = [channels_at(n, config.channel_base, config.channel_max) for n in grid.names]
        self.fc = nn.Linear(config.z_dim, channels[0] * math.prod(self.base))
        nn.init.xavier_uniform_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)
        self.resolutions = grid.names[1:]
        for name, before, after in zip(self.resolutions, channels, channels[1:], strict=False):
            self.add_module(f"b{name}", SnganUpBlock(before, after, c_dim))
        self.norm = ConditionalBatchNorm(channels[-1], 0)
        self.torgb = convolution(channels[-1], img_channels, 3, gain=1.0)

    def forward(self, ws: Tensor, noise_mode: str = "none") -> Tensor:
        """`[N, 1, z_dim + c_dim]` → float32 images `[N, img_channels, height, width]` in ±1.

        There is no noise in the layers: `noise_mode` is for the sake of a common interface.
        """
        z, condition = torch.split(ws[:, 0], [self.z_dim, self.c_dim], dim=1)
        c = condition if self.c_dim > 0 else None
        x: Tensor = self.fc(z).unflatten(1, (-1, *self.base))
        for name in self.resolutions:
            x = cast(SnganUpBlock, self.get_submodule(f"b{name}"))(x, c)
        return cast(Tensor, self.torgb(F.relu(self.norm(x.float(), None))).tanh())

    @torch.no_grad()
    def settle(self, ws: Tensor, momentum: float) -> None:
        """Let what evaluation normalises by follow the features of a batch, by `momentum` 0..1.

        `ws` `[N, 1, w_dim]`, as `forward` takes them.
        """
        for norm in self.norms():
            norm.momentum = momentum
        self.train()
        self(ws)
        self.eval()

    def statistics(self) -> list[Tensor]:
        """What `settle` moves: means and variances of all layers, `[channels]` each."""
        return [each for norm in self.norms() for each in (norm.running_mean, norm.running_var)]

    def norms(self) -> list[ConditionalBatchNorm]:
        """All layers that normalise batches."""
        return [module for module in self.modules() if isinstance(module, ConditionalBatchNorm)]


def convolution(
    in_channels: int, out_channels: int, kernel_size: int, gain: float = math.sqrt(2)
) -> CastingConv2d:
    """A convolution that keeps the size, drawn after Glorot 2010 times `gain`."""
    layer = CastingConv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    nn.init.zeros_(cast(Tensor, layer.bias))
    return layer


def enlarge(x: Tensor) -> Tensor:
    """`[N, C, H, W]` → `[N, C, 2 H, 2 W]`: each pixel becomes four."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
