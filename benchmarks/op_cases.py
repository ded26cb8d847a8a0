"""What `benchmarks.ops` measures: operators, at the shapes of layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_utils.ops.bias_act import Implementation, bias_act, modulated_bias_act
from torch_utils.ops.filters import setup_filter
from torch_utils.ops.upfirdn2d import downsample2d, upfirdn2d, upsample2d
from training.networks.grid import channels_at
from training.networks.layers import RESAMPLE_TAPS
from training.presets import PresetName, preset

ORDERS = ("forward", "backward", "double backward")  # y; from dy those of the inputs; from ddx dy's

_CHANNEL_MAX = 512
_CLAMP = 256.0  # of activations in 16 bits
_TOP: dict[PresetName, int] = {"cifar": 32, "paper256": 256, "paper1024": 1024}
_LARGE = {"cuda": (8, 128, 512), "cpu": (1, 32, 512)}  # images, channels, pixels a side


@dataclass(frozen=True)
class Layer:
    """Feature maps of a network on one device."""

    name: str
    batch: int
    channels: int
    resolution: int
    compiles: bool = True  # whether torch.compile is measured here too


@dataclass(frozen=True)
class Work:
    """An operator on random tensors, all of which want gradients; the first is x."""

    inputs: tuple[Tensor, ...]
    function: Callable[..., Tensor]  # of the inputs and impl
    reads: tuple[int, int] = (0, 0)  # tensors like y that backward and double backward need as well

    def bytes(self, order: str) -> int:
        """The least that `order`, one of `ORDERS`, has to read and to write."""
        with torch.no_grad():
            y = self.function(*self.inputs, impl="torch").nbytes
        inputs = sum(tensor.nbytes for tensor in self.inputs)
        return {
            "forward": inputs + y,
            "backward": y + inputs + self.reads[0] * y,
            "double backward": self.inputs[0].nbytes + y + self.reads[1] * y,
        }[order]


Random = Callable[..., Tensor]  # of a shape
OperatorMaker = Callable[[Layer, Random], Work]


def layers(device: torch.device, quick: bool) -> list[Layer]:
    """The three highest resolutions of each config, and a size well beyond any cache.

    A GPU gets as many images as one had in the published runs, a CPU one image. torch.compile takes
    seconds a layer and is for each config's highest resolution and the large size. `quick` is a
    single small layer.
    """
    if quick:
        return [Layer("quick", 1, 8, 16)]
    found = []
    for name, top in _TOP.items():
        row = preset(name, top, top, None)
        batch = row["batch"] // row["micro_batches"] if device.type == "cuda" else 1
        for resolution in (top, top // 2, top // 4):
            channels = channels_at(resolution, row["channel_base"], _CHANNEL_MAX)
            found.append(Layer(name, batch, channels, resolution, compiles=resolution == top))
    return [*found, Layer("large", *_LARGE[device.type])]


def make_work(
    operator: str,
    layer: Layer,
    dtype: torch.dtype,
    layout: torch.memory_format,
    device: torch.device,
) -> Work:
    """`operator`, one of `OPERATORS`, as it occurs in `layer`."""

    def random(*shape: int) -> Tensor:
        tensor = torch.randn(shape, device=device, dtype=dtype)
        if len(shape) == 4:
            tensor = tensor.contiguous(memory_format=layout)
        return tensor.requires_grad_()

    return OPERATORS[operator](layer, random)


def _bias_act(layer: Layer, random: Random) -> Work:
    def function(x: Tensor, b: Tensor, impl: Implementation) -> Tensor:
        return bias_act(x, b, act="lrelu", clamp=_CLAMP, impl=impl)

    x = random(layer.batch, layer.channels, layer.resolution, layer.resolution)
    return Work((x, random(layer.channels)), function, reads=(1, 1))


def _modulated_bias_act(layer: Layer, random: Random) -> Work:
    def function(
        x: Tensor, b: Tensor, scale: Tensor, noise: Tensor, impl: Implementation
    ) -> Tensor:
        return modulated_bias_act(x, b, scale, noise, act="lrelu", clamp=_CLAMP, impl=impl)

    n, c, size = layer.batch, layer.channels, layer.resolution
    inputs = (random(n, c, size, size), random(c), random(n, c), random(n, 1, size, size))
    return Work(inputs, function, reads=(2, 1))


def _resampler(operator: Callable[..., Tensor], size: Callable[[int], int]) -> OperatorMaker:
    """`operator` on images of `size(resolution)` pixels a side."""

    def make(layer: Layer, random: Random) -> Work:
        x = random(layer.batch, layer.channels, *[size(layer.resolution)] * 2)
        f = setup_filter(RESAMPLE_TAPS, device=x.device)
        return Work((x,), lambda x, impl: operator(x, f, impl=impl))

    return make


def _blur(x: Tensor, f: Tensor, impl: Implementation) -> Tensor:
    """What follows a transposed convolution."""
    return upfirdn2d(x, f, padding=1, gain=4, impl=impl)


OPERATORS: dict[str, OperatorMaker] = {
    "bias_act": _bias_act,
    "modulated_bias_act": _modulated_bias_act,
    "upsample2d": _resampler(upsample2d, lambda resolution: resolution // 2),
    "downsample2d": _resampler(downsample2d, lambda resolution: resolution),
    "blur": _resampler(_blur, lambda resolution: resolution + 1),
}
