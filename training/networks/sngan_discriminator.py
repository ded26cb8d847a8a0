"""SNGAN's discriminator: residual blocks of spectral norm 1, projection onto the condition."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dnnlib import Config
from training.networks.grid import channels_at, resolution_grid
from training.networks.layers import FeatureNoise
from training.networks.spectral import SpectralConv2d, SpectralLinear
from training.networks.timesteps import (
    TimestepEmbedding,
    TimestepEmbeddingKind,
    with_timesteps,
)

_NUM_END_BLOCKS = 2  # at the lowest resolution


class SnganDiscriminatorConfig(Config):
    """What SNGAN's discriminator is made of; data gives it resolution, channels and classes."""

    kind: Literal["sngan"] = "sngan"
    channel_base: int = 4096
    channel_max: int = 128
    t_embed: TimestepEmbeddingKind = "fourier"


class SnganBlock(nn.Module):
    """Two convolutions after ReLU, which halve the resolution where `down` says so.

    The `first` block takes images: without a ReLU before them, and with the noise inside, if any,
    on both of its ways, so that nothing goes around it.
    """

    def __init__(self, in_channels: int, out_channels: int, down: bool, first: bool) -> None:
        super().__init__()
        self.dtype = torch.float32  # of its features; see training.networks.precision
        self.down, self.first = down, first
        self.conv0 = SpectralConv2d(in_channels, out_channels, 3)
        self.conv1 = SpectralConv2d(out_channels, out_channels, 3)
        changes = down or in_channels != out_channels
        self.skip = SpectralConv2d(in_channels, out_channels, 1, gain=1.0) if changes else None

    def forward(self, x: Tensor, noise: FeatureNoise | None = None) -> Tensor:
        """`[N, in_channels, H, W]` → `[N, out_channels, H, W]`, halved where `down`."""
        x = x.to(self.dtype)
        h = self.conv0(x if self.first else F.relu(x))
        h = self.conv1(F.relu(h if noise is None else noise(h)))
        if self.down:
            x, h = F.avg_pool2d(x, 2), F.avg_pool2d(h, 2)
        if self.skip is not None:
            x = self.skip(x)
        y: Tensor = h + (x if noise is None else noise(x))
        return y


class SnganDiscriminator(nn.Module):
    """Realness logits of blocks `b32`, `b16`, ..., `end0`, `end1` (Miyato 2018, 1802.05637).

    The condition is the label (`c_dim` classes, 0 without) beside the timestep (`t_max` None for a
    discriminator that sees no timesteps).
    """

    def __init__(
        self,
        config: SnganDiscriminatorConfig,
        c_dim: int,
        t_max: int | None,
        width: int,
        height: int,
        img_channels: int,
    ) -> None:
        super().__init__()
        names = resolution_grid(width, height).names
        num_down = max(len(names) - 2, 1)  # down to twice the base grid, as published
        self.blocks: list[str] = []
        channels = img_channels
        for name in names[:0:-1][:num_down]:
            after = channels_at(name // 2, config.channel_base, config.channel_max)
            self._add(f"b{name}", SnganBlock(channels, after, True, first=name == names[-1]))
            channels = after
        for index in range(_NUM_END_BLOCKS):
            self._add(f"end{index}", SnganBlock(channels, channels, False, first=False))
        self.out = SpectralLinear(channels, 1)
        self.embed_timesteps = None if t_max is None else TimestepEmbedding(config.t_embed, t_max)
        condition_dim = c_dim + (0 if self.embed_timesteps is None else self.embed_timesteps.dim)
        self.embed: SpectralLinear | None = None
        if condition_dim > 0:
            self.embed = SpectralLinear(condition_dim, channels, bias=False)

    def _add(self, name: str, block: SnganBlock) -> None:
        self.blocks.append(name)
        self.add_module(name, block)

    def layers(self) -> list[nn.Module]:
        """Convolutions of the blocks, the nearest to the image first: conv0, conv1, skip."""
        return [layer for name in self.blocks for layer in self.get_submodule(name).children()]

    def forward(
        self,
        images: Tensor,
        c: Tensor,
        timesteps: Tensor | None = None,
        noise: FeatureNoise | None = None,
    ) -> Tensor:
        """Images `[N, C, H, W]` about ±1, `[N, c_dim]`, int64 `[N]` in 0..t_max → `[N, 1]`.

        `noise` is added to the features of the first layers.
        """
        x = images
        for index, name in enumerate(self.blocks):
            x = self.get_submodule(name)(x, noise if index == 0 else None)
        features = F.relu(x.float()).sum(dim=[2, 3])
        logits: Tensor = self.out(features)
        if self.embed is None:
            return logits
        condition = with_timesteps(c, self.embed_timesteps, timesteps)
        projected: Tensor = (self.embed(condition) * features).sum(dim=1, keepdim=True)
        return logits + projected
