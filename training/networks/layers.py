"""Layers with equalised learning rate (Karras 2018, section 4.1): weights are drawn from N(0, 1)
and scaled at run time by 1 / sqrt(fan_in)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from torch_utils.ops.bias_act import ACTIVATIONS, ActivationName, bias_act
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.upfirdn2d import setup_filter

RESAMPLE_TAPS = (1, 3, 3, 1)

# Noise for the features of a critic's first layer, `[N, C, H, W]` of any C.
FeatureNoise = Callable[[Tensor], Tensor]


def normalize_2nd_moment(x: Tensor) -> Tensor:
    """Scale each row of `[N, F]` to unit mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def split_gain(activation: ActivationName, gain: float) -> tuple[float, float]:
    """Factors before and after an activation that do what `gain` > 0 does after it.

    Weights take it over where that changes nothing: they are smaller than features.
    """
    return (gain, 1.0) if ACTIVATIONS[activation].homogeneous else (1.0, gain)


class FullyConnectedLayer(nn.Module):
    """`[N, in_features]` → `[N, out_features]`; weight and bias learn `lr_multiplier` as fast."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: ActivationName = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation: ActivationName = activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init)))
        before, self.act_gain = split_gain(activation, ACTIVATIONS[activation].gain)
        self.weight_gain = lr_multiplier / math.sqrt(in_features) * before
        self.bias_gain = lr_multiplier * before

    def forward(self, x: Tensor) -> Tensor:
        """`x` `[N, in_features]`, in whose dtype the layer computes."""
        w = self.weight.to(x.dtype) * self.weight_gain
        b = self.bias.to(x.dtype)
        b = b if self.bias_gain == 1 else b * self.bias_gain
        return bias_act(torch.addmm(b, x, w.T), act=self.activation, gain=self.act_gain)


class Conv2dLayer(nn.Module):
    """Convolution with optional antialiased resampling, bias, activation, gain and clamp."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = True,
        activation: ActivationName = "linear",
        up: int = 1,
        down: int = 1,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.activation: ActivationName = activation
        self.up, self.down = up, down
        self.conv_clamp = conv_clamp
        self.padding = kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.act_gain = ACTIVATIONS[activation].gain
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """`[N, in_channels, H, W]` → `[N, out_channels, H * up / down, W * up / down]`."""
        before, after = split_gain(self.activation, self.act_gain * gain)
        w = self.weight.to(x.dtype) * (self.weight_gain * before)
        b = None if self.bias is None else self.bias.to(x.dtype)
        # Transposed convolution wants the flipped kernel, see conv2d_resample.
        x = conv2d_resample(
            x,
            w,
            self.resample_filter,
            up=self.up,
            down=self.down,
            padding=self.padding,
            flip_weight=self.up == 1,
        )
        return bias_act(
            x,
            b if b is None or before == 1 else b * before,
            act=self.activation,
            gain=after,
            clamp=None if self.conv_clamp is None else self.conv_clamp * gain,
        )


class CastingConv2d(nn.Conv2d):
    """A convolution with plain float32 weights that computes in the precision of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """`[N, in_channels, H, W]` → `[N, out_channels, H / stride, W / stride]`."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        y: Tensor = self._conv_forward(x, self.weight.to(x.dtype), bias)
        return y


class MinibatchStdLayer(nn.Module):
    """Append the standard deviation within small groups of images as one feature map.

    Shows the critic how alike the images of a group are (Karras 2018, section 3).
    """

    def __init__(self, group_size: int) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` → `[N, C + 1, H, W]`; a group is every (N / groups)-th image.

        Raises `ValueError` when the group size does not divide N.
        """
        n, c, h, w = x.shape
        group = min(self.group_size, n)
        if n % group:
            raise ValueError(f"minibatch standard deviation: group size {group} must divide {n}")
        grouped = x.reshape(group, -1, c, h, w)
        deviation = (grouped.var(dim=0, correction=0) + 1e-8).sqrt()
        statistic = deviation.mean(dim=[1, 2, 3])  # [N / group]
        statistic_map = statistic.repeat(group)[:, None, None, None].expand(-1, -1, h, w)
        return torch.cat([x, statistic_map.to(x.dtype)], dim=1)


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """int64 `[N]` → float32 `[N, num_classes]`; without classes `[N, 0]`."""
    # Unlike torch's own, this does not ask the device whether labels are in range.
    return (labels[:, None] == torch.arange(num_classes, device=labels.device)).float()
