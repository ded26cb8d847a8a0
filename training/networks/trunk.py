"""The convolutional trunk that the discriminator and the classifier share."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from dnnlib import Config
from torch_utils.ops.upfirdn2d import downsample2d, setup_filter
from training.networks.generator import Architecture
from training.networks.grid import channels_at, resolution_grid
from training.networks.layers import (
    RESAMPLE_TAPS,
    Conv2dLayer,
    FeatureNoise,
    FullyConnectedLayer,
    MinibatchStdLayer,
)


class TrunkConfig(Config):
    """What a trunk is made of; data gives it resolution and channels."""

    channel_base: int = 16384
    channel_max: int = 512
    architecture: Architecture = "resnet"
    conv_clamp: float | None = None
    mbstd_group: int = 4  # images a group of the minibatch standard deviation; 0 leaves it out


class TrunkBlock(nn.Module):
    """Two convolutions that halve the resolution; `in_channels` 0 marks the first block."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        img_channels: int,
        architecture: Architecture,
        conv_clamp: float | None,
    ) -> None:
        super().__init__()
        self.dtype = torch.float32  # of its features; see training.networks.precision
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.skip_images = architecture == "skip"
        self.fromrgb: Conv2dLayer | None = None
        self.skip: Conv2dLayer | None = None
        if in_channels == 0 or self.skip_images:
            self.fromrgb = Conv2dLayer(
                img_channels, channels, 1, activation="lrelu", conv_clamp=conv_clamp
            )
        self.conv0 = Conv2dLayer(channels, channels, 3, activation="lrelu", conv_clamp=conv_clamp)
        self.conv1 = Conv2dLayer(
            channels, out_channels, 3, activation="lrelu", down=2, conv_clamp=conv_clamp
        )
        if architecture == "resnet":
            self.skip = Conv2dLayer(channels, out_channels, 1, bias=False, down=2)

    def forward(
        self, x: Tensor | None, img: Tensor | None, noise: FeatureNoise | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Features `[N, C, H, W]` (None in the first block) and the image (there and for `skip`).

        Both come out at half the size, the image for `skip` alone. `noise` is added to what the
        first convolution of the block takes in.
        """
        if x is not None:
            x = x.to(self.dtype)
        if self.fromrgb is not None:
            img = cast(Tensor, img).to(self.dtype)
            y = self.fromrgb(img)
            x = y if x is None else x + y
            img = downsample2d(img, self.resample_filter) if self.skip_images else None
        assert x is not None
        x = x if noise is None else noise(x)
        if self.skip is None:
            return self.conv1(self.conv0(x)), img
        shortcut = self.skip(x, gain=math.sqrt(0.5))
        return shortcut + self.conv1(self.conv0(x), gain=math.sqrt(0.5)), img


class TrunkEpilogue(nn.Module):
    """Minibatch standard deviation, a convolution and two linear layers on the base grid."""

    def __init__(
        self,
        channels: int,
        out_features: int,
        size: tuple[int, int],
        img_channels: int,
        config: TrunkConfig,
    ) -> None:
        super().__init__()
        self.fromrgb: Conv2dLayer | None = None
        self.mbstd: MinibatchStdLayer | None = None
        if config.architecture == "skip":
            self.fromrgb = Conv2dLayer(img_channels, channels, 1, activation="lrelu")
        if config.mbstd_group > 0:
            self.mbstd = MinibatchStdLayer(config.mbstd_group)
        self.conv = Conv2dLayer(
            channels + (self.mbstd is not None),
            channels,
            3,
            activation="lrelu",
            conv_clamp=config.conv_clamp,
        )
        self.fc = FullyConnectedLayer(channels * size[0] * size[1], channels, activation="lrelu")
        self.out = FullyConnectedLayer(channels, out_features)

    def forward(self, x: Tensor, img: Tensor | None) -> Tensor:
        """`[N, channels, *size]` → `[N, out_features]`."""
        x = x.float()
        if self.fromrgb is not None:
            x = x + self.fromrgb(cast(Tensor, img).float())
        if self.mbstd is not None:
            x = self.mbstd(x)
        x = self.fc(self.conv(x).flatten(1))
        return cast(Tensor, self.out(x))


class Trunk(nn.Module):
    """Images to a feature vector through blocks `b64`, `b32`, ... down to the epilogue `b4`."""

    def __init__(
        self, config: TrunkConfig, width: int, height: int, img_channels: int, out_features: int
    ) -> None:
        super().__init__()
        grid = resolution_grid(width, height)
        self.resolutions = grid.names[:0:-1]
        in_channels = 0
        for name in self.resolutions:
            channels = channels_at(name, config.channel_base, config.channel_max)
            out_channels = channels_at(name // 2, config.channel_base, config.channel_max)
            block = TrunkBlock(
                in_channels,
                channels,
                out_channels,
                img_channels,
                config.architecture,
                config.conv_clamp,
            )
            self.add_module(f"b{name}", block)
            in_channels = out_channels
        self.b4 = TrunkEpilogue(in_channels, out_features, grid.size(4), img_channels, config)

    def layers(self) -> list[nn.Module]:
        """Convolutions of the blocks, the nearest to the image first: fromrgb, conv0, conv1, skip.

        Each counts by itself, in the order of the published parameters.
        """
        return [
            layer
            for name in self.resolutions
            for layer in self.get_submodule(f"b{name}").children()
        ]

    def features(self, images: Tensor, noise: FeatureNoise | None = None) -> Tensor:
        """`[N, img_channels, height, width]` → `[N, out_features]`; `noise` for the first block."""
        x: Tensor | None = None
        img: Tensor | None = images
        for index, name in enumerate(self.resolutions):
            x, img = self.get_submodule(f"b{name}")(x, img, noise if index == 0 else None)
        return cast(Tensor, self.b4(x, img))
