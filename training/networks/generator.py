"""StyleGAN2's generator (Karras 2020), with the published parameter names; SNGAN's in its place."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn

from dnnlib import Config
from torch_utils.ops.modulated_conv2d import modulated_conv2d_bias_act
from torch_utils.ops.upfirdn2d import setup_filter, upsample2d
from training.networks.grid import channels_at, resolution_grid
from training.networks.layers import RESAMPLE_TAPS, Conv2dLayer, FullyConnectedLayer
from training.networks.mapping import MappingNetwork
from training.networks.sngan_generator import (
    SnganGeneratorConfig,
    SnganMapping,
    SnganSynthesis,
)

Architecture = Literal["skip", "resnet", "orig"]
NoiseMode = Literal["random", "const", "none"]


class GeneratorConfig(Config):
    """What StyleGAN2's generator is made of; data gives it resolution, channels and classes."""

    kind: Literal["stylegan2"] = "stylegan2"
    z_dim: int = 512
    w_dim: int = 512
    map_layers: int = 2
    map_lr: float = 0.01  # learning rate of the mapping network, relative
    channel_base: int = 16384
    channel_max: int = 512
    architecture: Architecture = "skip"
    conv_clamp: float | None = None  # largest magnitude of features; 16 bits want one


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, per-pixel noise, leaky ReLU."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        size: tuple[int, int],
        up: int = 1,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.size, self.up, self.conv_clamp = size, up, conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise_const", torch.randn(size))
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))

    def forward(self, x: Tensor, w: Tensor, noise_mode: NoiseMode, gain: float = 1.0) -> Tensor:
        """`[N, in_channels, h, w]`, `[N, w_dim]` → `[N, out_channels, *size]`."""
        noise: Tensor | None = None
        if noise_mode == "random":
            noise = torch.randn(len(x), 1, *self.size, device=x.device) * self.noise_strength
        elif noise_mode == "const":
            noise = self.noise_const * self.noise_strength
        return modulated_conv2d_bias_act(
            x,
            self.weight,
            self.affine(w),
            self.bias,
            noise,
            up=self.up,
            padding=1,
            resample_filter=self.resample_filter,
            flip_weight=self.up == 1,
            fused_modconv=False,
            act="lrelu",
            gain=math.sqrt(2) * gain,
            clamp=None if self.conv_clamp is None else self.conv_clamp * gain,
        )


class ToRGBLayer(nn.Module):
    """Modulated 1x1 convolution to image channels, without demodulation."""

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, conv_clamp: float | None
    ) -> None:
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """`[N, in_channels, h, w]`, `[N, w_dim]` → `[N, out_channels, h, w]`."""
        styles = self.affine(w) * self.weight_gain
        return modulated_conv2d_bias_act(
            x,
            self.weight,
            styles,
            self.bias,
            demodulate=False,
            fused_modconv=False,
            clamp=self.conv_clamp,
        )


class SynthesisBlock(nn.Module):
    """The layers of one resolution; `in_channels` 0 marks the first, which begins as a constant."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        size: tuple[int, int],
        img_channels: int,
        is_last: bool,
        architecture: Architecture,
        conv_clamp: float | None,
    ) -> None:
        super().__init__()
        self.dtype = torch.float32  # of its features; see training.networks.precision
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.const: nn.Parameter | None = None
        self.conv0: SynthesisLayer | None = None
        self.skip: Conv2dLayer | None = None
        self.torgb: ToRGBLayer | None = None
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, *size))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, size, 2, conv_clamp)
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, size, conv_clamp=conv_clamp)
        if is_last or architecture == "skip":
            self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, conv_clamp)
        if in_channels != 0 and architecture == "resnet":
            self.skip = Conv2dLayer(in_channels, out_channels, 1, bias=False, up=2)
        self.num_conv = 1 if in_channels == 0 else 2
        self.num_torgb = 0 if self.torgb is None else 1

    def forward(
        self, x: Tensor | None, img: Tensor | None, ws: Tensor, noise_mode: NoiseMode
    ) -> tuple[Tensor, Tensor | None]:
        """Features and image of the resolution below → those of this one.

        `ws` is `[N, num_conv + num_torgb, w_dim]`.
        """
        *conv_ws, w_last = ws[:, : self.num_conv].unbind(dim=1)
        if self.const is not None:
            x = self.const[None].expand(len(ws), -1, -1, -1).to(self.dtype)
            x = self.conv1(x, w_last, noise_mode)
        else:
            assert x is not None and self.conv0 is not None
            x = x.to(self.dtype)
            if self.skip is not None:
                shortcut = self.skip(x, gain=math.sqrt(0.5))
                x = self.conv0(x, conv_ws[0], noise_mode)
                x = shortcut + self.conv1(x, w_last, noise_mode, gain=math.sqrt(0.5))
            else:
                x = self.conv0(x, conv_ws[0], noise_mode)
                x = self.conv1(x, w_last, noise_mode)
        if img is not None:
            img = upsample2d(img, self.resample_filter)
        if self.torgb is not None:
            y = self.torgb(x, ws[:, self.num_conv]).float()
            img = y if img is None else img + y
        return x, img


class SynthesisNetwork(nn.Module):
    """Style vectors to images, from the base grid up; blocks `b4`, `b8`, ..."""

    def __init__(self, config: GeneratorConfig, width: int, height: int, img_channels: int) -> None:
        super().__init__()
        grid = resolution_grid(width, height)
        self.resolutions = grid.names
        in_channels = 0
        self.num_ws = 0
        for name in self.resolutions:
            out_channels = channels_at(name, config.channel_base, config.channel_max)
            is_last = name == self.resolutions[-1]
            block = SynthesisBlock(
                in_channels,
                out_channels,
                config.w_dim,
                grid.size(name),
                img_channels,
                is_last,
                config.architecture,
                config.conv_clamp,
            )
            self.add_module(f"b{name}", block)
            self.num_ws += block.num_conv + (block.num_torgb if is_last else 0)
            in_channels = out_channels

    def forward(self, ws: Tensor, noise_mode: NoiseMode = "random") -> Tensor:
        """`[N, num_ws, w_dim]` → float32 images `[N, img_channels, height, width]`, about ±1."""
        x: Tensor | None = None
        img: Tensor | None = None
        first = 0
        for name in self.resolutions:
            block = cast(SynthesisBlock, self.get_submodule(f"b{name}"))
            # A block's torgb shares its w with the next block's first convolution.
            x, img = block(
                x, img, ws[:, first : first + block.num_conv + block.num_torgb], noise_mode
            )
            first += block.num_conv
        assert img is not None
        return img


class Generator(nn.Module):
    """Latents and conditions to images, by way of styles: StyleGAN2's, or SNGAN's by its config.

    `c_dim` is the number of classes (0 without); `width` and `height` in pixels.
    """

    synthesis: SynthesisNetwork | SnganSynthesis
    mapping: MappingNetwork | SnganMapping

    def __init__(
        self,
        config: GeneratorConfig | SnganGeneratorConfig,
        c_dim: int,
        width: int,
        height: int,
        img_channels: int,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.img_channels = config.z_dim, c_dim, img_channels
        self.width, self.height = width, height
        if isinstance(config, SnganGeneratorConfig):
            self.synthesis = SnganSynthesis(config, c_dim, width, height, img_channels)
            self.mapping = SnganMapping(config.z_dim, c_dim)
        else:
            self.synthesis = SynthesisNetwork(config, width, height, img_channels)
            self.mapping = MappingNetwork(
                config.z_dim,
                c_dim,
                config.w_dim,
                self.synthesis.num_ws,
                config.map_layers,
                config.map_lr,
            )
        self.num_ws = self.synthesis.num_ws

    def forward(
        self,
        z: Tensor,
        c: Tensor,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: NoiseMode = "random",
    ) -> Tensor:
        """`[N, z_dim]`, `[N, c_dim]` → images `[N, img_channels, height, width]`, about ±1."""
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff)
        return cast(Tensor, self.synthesis(ws, noise_mode))
