"""StyleGAN2's discriminator, conditioned on the class and on the timestep of its noise."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from training.networks.layers import FeatureNoise
from training.networks.mapping import MappingNetwork
from training.networks.timesteps import (
    TimestepEmbedding,
    TimestepEmbeddingKind,
    with_timesteps,
)
from training.networks.trunk import Trunk, TrunkConfig


class DiscriminatorConfig(TrunkConfig):
    """The trunk, and what conditions it."""

    kind: Literal["stylegan2"] = "stylegan2"
    map_layers: int = 8
    map_lr: float = 0.01  # learning rate of the mapping network, relative
    t_embed: TimestepEmbeddingKind = "fourier"
    cmap_dim: int | None = None  # features of the projected condition; None: as many as the base's


class Discriminator(Trunk):
    """Realness logits by projection onto the mapped condition (Miyato 2018).

    The condition is the label (`c_dim` classes, 0 without) beside the timestep (`t_max` None
    for a discriminator that sees no noise).
    """

    def __init__(
        self,
        config: DiscriminatorConfig,
        c_dim: int,
        t_max: int | None,
        width: int,
        height: int,
        img_channels: int,
    ) -> None:
        embedding = None if t_max is None else TimestepEmbedding(config.t_embed, t_max)
        condition_dim = c_dim + (0 if embedding is None else embedding.dim)
        base_channels = min(config.channel_base // 4, config.channel_max)
        cmap_dim = config.cmap_dim or base_channels
        conditional = condition_dim > 0
        super().__init__(config, width, height, img_channels, cmap_dim if conditional else 1)
        self.embed_timesteps = embedding
        self.mapping = (
            MappingNetwork(0, condition_dim, cmap_dim, None, config.map_layers, config.map_lr)
            if conditional
            else None
        )

    def forward(
        self,
        images: Tensor,
        c: Tensor,
        timesteps: Tensor | None = None,
        noise: FeatureNoise | None = None,
    ) -> Tensor:
        """Images `[N, C, H, W]` about ±1, `[N, c_dim]`, int64 `[N]` in 0..t_max → `[N, 1]`.

        `noise` is added to the features of the first layer.
        """
        x = self.features(images, noise)
        if self.mapping is None:
            return x
        mapped: Tensor = self.mapping(None, with_timesteps(c, self.embed_timesteps, timesteps))
        return (x * mapped).sum(dim=1, keepdim=True) / math.sqrt(x.shape[1])
