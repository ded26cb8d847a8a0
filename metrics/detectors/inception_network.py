"""FID-Inception: the Inception-v3 of the TensorFlow graph of 2015-12-05, up to its 1008 classes.

Architecture: Szegedy et al., arXiv 1512.00567, table 1 and figures 5 to 7. The graph differs from
the network described there in that average pools leave out the padding, and that the last block
takes a maximum where all others average. The names of the parts are those of the public state
dicts; each batch norm is folded into its convolution.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

NUM_FEATURES = 2048
NUM_CLASSES = 1008
_BATCH_NORM_EPS = 1e-3
_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")

# Name, output channels, kernel height and width.
_Conv = tuple[str, int, int, int]
# Steps one after the other; the convolutions of a step stand side by side.
_Branch = list[list[_Conv]]


class ConvReLU(nn.Module):
    """A convolution with its folded batch norm, and ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int],
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float `[N, in_channels, H, W]` to `[N, out_channels, H', W']`, 0 or more."""
        return F.relu(self.conv(x.to(self.conv.weight.dtype)), inplace=True)


class Mixed(nn.Module):
    """Branches side by side, the last of them a pool, their channels one after the other."""

    def __init__(
        self,
        in_channels: int,
        branches: list[_Branch],
        pool: nn.Module,
        pool_channels: int = 0,
        stride: int = 1,
    ) -> None:
        """`pool_channels` are those of the 1x1 convolution behind the pool; 0: there is none."""
        super().__init__()
        self.out_channels = 0
        for branch in branches:
            channels = in_channels
            for step in branch:
                last = step is branch[-1]
                for name, out_channels, height, width in step:
                    part = ConvReLU(
                        channels,
                        out_channels,
                        (height, width),
                        stride if last else 1,
                        # The step that shrinks has no padding, the others keep the size.
                        (0, 0) if last and stride > 1 else (height // 2, width // 2),
                    )
                    self.add_module(name, part)
                channels = sum(conv[1] for conv in step)
            self.out_channels += channels
        self._branches = [[[conv[0] for conv in step] for step in branch] for branch in branches]
        self.pool = pool
        self.branch_pool = ConvReLU(in_channels, pool_channels, (1, 1)) if pool_channels else None
        self.out_channels += pool_channels or in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float `[N, in_channels, H, W]` to `[N, out_channels, H', W']`, smaller at stride 2."""
        outputs: list[torch.Tensor] = []
        for branch in self._branches:
            h = [x]
            for step in branch:
                joined = h[0] if len(h) == 1 else torch.cat(h, dim=1)
                h = [self.get_submodule(name)(joined) for name in step]
            outputs += h
        pooled = self.pool(x)
        outputs.append(pooled if self.branch_pool is None else self.branch_pool(pooled))
        return torch.cat(outputs, dim=1)


def _branch(name: str, *convs: tuple[int, int, int], fork: int = 0) -> _Branch:
    """A branch of convolutions (channels, height, width), numbered if there are several.

    `fork` ends it with a 1x3 and a 3x1 convolution of so many channels each, side by side.
    """
    steps: _Branch = [[(f"{name}_{number}", *conv)] for number, conv in enumerate(convs, 1)]
    if fork:
        prefix = f"{name}_{len(convs) + 1}"
        return [*steps, [(f"{prefix}a", fork, 1, 3), (f"{prefix}b", fork, 3, 1)]]
    return steps if len(steps) > 1 else [[(name, *convs[0])]]


def _average_pool() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def _mixed_35(in_channels: int, pool_channels: int) -> Mixed:
    """A block on the 35x35 grid (figure 5)."""
    branches = [
        _branch("branch1x1", (64, 1, 1)),
        _branch("branch5x5", (48, 1, 1), (64, 5, 5)),
        _branch("branch3x3dbl", (64, 1, 1), (96, 3, 3), (96, 3, 3)),
    ]
    return Mixed(in_channels, branches, _average_pool(), pool_channels)


def _mixed_17(in_channels: int, hidden: int) -> Mixed:
    """A block on the 17x17 grid (figure 6): 7x7 as 1x7 and 7x1."""
    wide, tall = (hidden, 1, 7), (hidden, 7, 1)
    branches = [
        _branch("branch1x1", (192, 1, 1)),
        _branch("branch7x7", (hidden, 1, 1), wide, (192, 7, 1)),
        _branch("branch7x7dbl", (hidden, 1, 1), tall, wide, tall, (192, 1, 7)),
    ]
    return Mixed(in_channels, branches, _average_pool(), 192)


def _mixed_8(in_channels: int, pool: nn.Module) -> Mixed:
    """A block on the 8x8 grid (figure 7): branches that fork at their end."""
    branches = [
        _branch("branch1x1", (320, 1, 1)),
        _branch("branch3x3", (384, 1, 1), fork=384),
        _branch("branch3x3dbl", (448, 1, 1), (384, 3, 3), fork=384),
    ]
    return Mixed(in_channels, branches, pool, 192)


def _shrink_to_17(in_channels: int) -> Mixed:
    branches = [
        _branch("branch3x3", (384, 3, 3)),
        _branch("branch3x3dbl", (64, 1, 1), (96, 3, 3), (96, 3, 3)),
    ]
    return Mixed(in_channels, branches, nn.MaxPool2d(3, stride=2), stride=2)


def _shrink_to_8(in_channels: int) -> Mixed:
    branches = [
        _branch("branch3x3", (192, 1, 1), (320, 3, 3)),
        _branch("branch7x7x3", (192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3)),
    ]
    return Mixed(in_channels, branches, nn.MaxPool2d(3, stride=2), stride=2)


class Inception(nn.Module):
    """The whole network. Its input is 299x299; other sizes from 75 up go through it as well."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvReLU(3, 32, (3, 3), stride=2)
        self.Conv2d_2a_3x3 = ConvReLU(32, 32, (3, 3))
        self.Conv2d_2b_3x3 = ConvReLU(32, 64, (3, 3), padding=(1, 1))
        self.Conv2d_3b_1x1 = ConvReLU(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = ConvReLU(80, 192, (3, 3))
        self.Mixed_5b = _mixed_35(192, 32)
        self.Mixed_5c = _mixed_35(256, 64)
        self.Mixed_5d = _mixed_35(288, 64)
        self.Mixed_6a = _shrink_to_17(288)
        self.Mixed_6b = _mixed_17(768, 128)
        self.Mixed_6c = _mixed_17(768, 160)
        self.Mixed_6d = _mixed_17(768, 160)
        self.Mixed_6e = _mixed_17(768, 192)
        self.Mixed_7a = _shrink_to_8(768)
        self.Mixed_7b = _mixed_8(1280, _average_pool())
        self.Mixed_7c = _mixed_8(2048, nn.MaxPool2d(3, stride=1, padding=1))
        self.fc = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def maps(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """The maps that FID is taken on, one after the other, of normalised `[N, 3, H, W]`.

        Float `[N, C, H', W']`, 0 or more, of 64, 192, 768 and 2048 channels.
        """
        h = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        yield (h := F.max_pool2d(h, 3, stride=2))
        h = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(h))
        yield (h := F.max_pool2d(h, 3, stride=2))
        h = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(h))))
        yield (h := self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(h)))))
        yield self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(h)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features, float `[N, 2048]`, 0 or more, of normalised images `[N, 3, H, W]`."""
        *_, last = self.maps(x)
        return last.mean(dim=(2, 3), dtype=torch.float32)


def published_shapes(network: Inception) -> dict[str, torch.Size]:
    """Shape by name of the tensors that a public state dict must have for `fold_batch_norm`."""
    shapes: dict[str, torch.Size] = {}
    for name, part in network.named_modules():
        if isinstance(part, ConvReLU):
            shapes[f"{name}.conv.weight"] = part.conv.weight.shape
            channels = torch.Size([part.conv.out_channels])
            shapes |= {f"{name}.bn.{kind}": channels for kind in _NORM_PARTS}
    return shapes | {"fc.weight": network.fc.weight.shape, "fc.bias": network.fc.bias.shape}


def fold_batch_norm(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """State of `Inception`, float32, from tensors by public name (see `published_shapes`).

    At inference batch norm is affine in each channel (Ioffe & Szegedy, arXiv 1502.03167, alg. 2):
    γ (Wx − μ) / sqrt(v + ε) + β has the weight Wγ / sqrt(v + ε) and the bias β − μγ / sqrt(v + ε).
    """
    state = {name: published[name].float() for name in ("fc.weight", "fc.bias")}
    for name, weight in published.items():
        if not name.endswith(".conv.weight"):
            continue
        prefix = name.removesuffix(".conv.weight")
        gamma, beta, mean, variance = (
            published[f"{prefix}.bn.{kind}"].double() for kind in _NORM_PARTS
        )
        scale = gamma / (variance + _BATCH_NORM_EPS).sqrt()
        state[name] = (weight.double() * scale[:, None, None, None]).float()
        state[f"{prefix}.conv.bias"] = (beta - mean * scale).float()
    return state
