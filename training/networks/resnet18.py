"""ResNet-18 (He 2016, 1512.03385) as a classifier of noisy images.

Normalises groups of channels (Wu 2018, 1803.08494), not batches: an image's logits do not depend on
the images beside it, and there are no running statistics that generated images could disturb.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dnnlib import Config
from training.networks.classifier import Classifier
from training.networks.grid import resolution_grid
from training.networks.layers import CastingConv2d, FeatureNoise
from training.networks.timesteps import TimestepEmbeddingKind

_SMALL = 64  # pixels; images up to here are not halved before the first stage
_GROUP_CHANNELS = 16
_STAGES = 4


class ResNetConfig(Config):
    """What a ResNet-18 is made of; its last stage has `embed_dim` channels, the first an eighth."""

    kind: Literal["resnet18"] = "resnet18"
    embed_dim: int = Field(512, multiple_of=8)
    t_embed: TimestepEmbeddingKind = "fourier"


class ResNetBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv0 = _convolution(in_channels, out_channels, 3, stride)
        self.norm0 = _group_norm(out_channels)
        self.conv1 = _convolution(out_channels, out_channels, 3, 1)
        self.norm1 = _group_norm(out_channels)
        self.skip: CastingConv2d | None = None
        if stride > 1 or in_channels != out_channels:
            self.skip = _convolution(in_channels, out_channels, 1, stride)
            self.skip_norm = _group_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, in_channels, H, W]` → `[N, out_channels, H / stride, W / stride]`."""
        h = F.relu(_normalise(self.norm0, self.conv0(x)))
        h = _normalise(self.norm1, self.conv1(h))
        if self.skip is not None:
            x = _normalise(self.skip_norm, self.skip(x))
        return F.relu(h + x)


class ResNetStage(nn.Sequential):
    """Two blocks, the first of which may halve the resolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(
            ResNetBlock(in_channels, out_channels, stride),
            ResNetBlock(out_channels, out_channels, 1),
        )
        self.dtype = torch.float32  # of its features; see training.networks.precision

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` through its blocks, in the precision of the stage."""
        x = x.to(self.dtype)
        for block in self:
            x = block(x)
        return x


class ResNet18(Classifier):
    """Stages are named after the resolution that they work at: `b32`, `b16`, `b8`, `b4`."""

    def __init__(
        self,
        config: ResNetConfig,
        num_classes: int,
        t_max: int | None,
        width: int,
        height: int,
        img_channels: int,
    ) -> None:
        super().__init__()
        self.is_small = min(width, height) <= _SMALL
        channels = config.embed_dim // 2 ** (_STAGES - 1)
        kernel_size, stride = (3, 1) if self.is_small else (7, 2)
        self.stem = _convolution(img_channels, channels, kernel_size, stride)
        self.stem_norm = _group_norm(channels)
        name = resolution_grid(width, height).names[-1] // (1 if self.is_small else 4)
        self.stages: list[str] = []
        for index in range(_STAGES):
            stride = 1 if index == 0 else 2
            after = channels * stride
            self.stages.append(f"b{name}")
            self.add_module(f"b{name}", ResNetStage(channels, after, stride))
            channels, name = after, name // 2
        self.add_heads(config.embed_dim, num_classes, config.t_embed, t_max)

    def features(self, images: Tensor, noise: FeatureNoise | None = None) -> Tensor:
        """`[N, img_channels, height, width]` → `[N, embed_dim]`; `noise` comes after the stem."""
        x = self.stem(images)
        x = F.relu(_normalise(self.stem_norm, x if noise is None else noise(x)))
        if not self.is_small:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return cast(Tensor, x.float().mean(dim=[2, 3]))


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int
) -> CastingConv2d:
    layer = CastingConv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
    )
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def _group_norm(channels: int) -> nn.GroupNorm:
    groups = max(channels // _GROUP_CHANNELS, 1)
    return nn.GroupNorm(math.gcd(groups, channels), channels)


def _normalise(layer: nn.GroupNorm, x: Tensor) -> Tensor:
    return cast(Tensor, layer(x.float())).to(x.dtype)
