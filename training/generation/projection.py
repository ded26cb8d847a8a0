"""Finding the style that makes a given picture (Karras 2020, arXiv 1912.04958, appendix D)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dnnlib import Config, UserError
from torch_utils.seeding import derive_seed
from training.generation.pixel_noise import synthesise_with
from training.generation.synthesis import class_center, latents
from training.networks.generator import Generator

Features = Callable[[Tensor], list[Tensor]]
"""Features `[N, ...]` of pictures, float `[N, 1 or 3, H, W]` in 0..255, differentiable. Their
squared Euclidean distance says how different two pictures look."""
StyleSpace = Literal["w", "w+"]

_SPREAD_SAMPLES = 4096
_STYLE_NOISE, _STYLE_NOISE_END = 0.05, 0.75  # of the spread; share of the steps that have it
_RAMP_UP, _RAMP_DOWN = 0.05, 0.25  # shares of the steps
_SMALLEST_NOISE = 8  # pixels a side of the coarsest noise map that is looked at


class ProjectionConfig(Config):
    """How a style is looked for; the defaults are the paper's but for the noise."""

    space: StyleSpace = "w"  # one style for all layers, or one for each
    steps: Annotated[int, Field(ge=1)] = 1000
    learning_rate: Annotated[float, Field(gt=0)] = 0.1  # at most
    noise_reg: Annotated[float, Field(gt=0)] | None = None  # 1e5 in the paper; None: noise is kept
    seed: int = 0


class TargetDistance:
    """How different pictures look from `target`, float `[1, C, H, W]` in -1..1, C 1, 3 or 4."""

    def __init__(self, features: Features, target: Tensor) -> None:
        self._features = features
        self._wanted = [part.detach() for part in _seen(features, target)]

    def __call__(self, images: Tensor) -> Tensor:
        """Distances `[N]`, 0 or more and differentiable, of `[N, C, H, W]` like the target."""
        parts = zip(_seen(self._features, images), self._wanted, strict=True)
        squares = [(found - wanted).square().flatten(1).sum(dim=1) for found, wanted in parts]
        return torch.stack(squares).sum(dim=0)


class Projection:
    """The style of a picture, found step by step from the mean of the conditions `c` `[1, c_dim]`.

    The target of `distance` is of the generator's size, and all are on its device. Without
    `noise_reg` the constant noise stays what it is; with it the noise is fitted too, and held back
    from carrying the picture. Raises `UserError` for `noise_reg` of a generator without noise, and
    for w+ of one whose layers share a style.
    """

    def __init__(
        self, generator: Generator, distance: TargetDistance, c: Tensor, config: ProjectionConfig
    ) -> None:
        self._generator, self._distance, self._config = generator, distance, config
        if config.space == "w+" and generator.num_ws == 1:
            raise UserError("--space w+: all layers of the network share one style; use --space w")
        center = class_center(generator, c)[:, None]  # [1, 1, w_dim]
        self._spread = _spread(generator, c, center)
        layers = 1 if config.space == "w" else generator.num_ws
        self._w = center.repeat(1, layers, 1).requires_grad_()
        maps = _noise_maps(generator.synthesis)
        self._sizes = [tuple(each.shape) for each in maps]
        self._noise: Tensor | None = None
        if config.noise_reg is not None:
            if not maps:
                raise UserError("--noise-reg: the network has no per-pixel noise; leave it out")
            self._noise = torch.cat([each.flatten() for each in maps])[None].requires_grad_()

    @property
    def ws(self) -> Tensor:
        """The style so far, `[1, num_ws, w_dim]`."""
        ws = self._w.detach()
        return ws.expand(-1, self._generator.num_ws, -1).clone()

    def run(self) -> Iterator[float]:
        """Go through all steps; each yields the distance of the picture that it began with."""
        config, parameters = self._config, [self._w]
        if self._noise is not None:
            parameters.append(self._noise)
        optimizer = torch.optim.Adam(parameters)
        drawing = torch.Generator().manual_seed(derive_seed(config.seed, "projection"))
        for step in range(config.steps):
            share = step / config.steps
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * learning_rate_ramp(share)
            shake = torch.randn(self._w.shape, generator=drawing).to(self._w.device)
            distance, loss = self._loss(shake * self._spread * style_noise(share))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            self._normalize_noise()
            yield float(distance.detach())

    def _loss(self, shake: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of the picture of a style moved by `shake`, and what is to be made smaller."""
        synthesis = self._generator.synthesis
        ws = (self._w + shake).expand(-1, self._generator.num_ws, -1)
        if self._noise is None:
            distance = self._distance(synthesis(ws, noise_mode="const"))[0]
            return distance, distance
        distance = self._distance(synthesise_with(synthesis, ws, self._noise))[0]
        assert self._config.noise_reg is not None
        penalty = sum(map(noise_correlation, self._maps(self._noise)), distance.new_zeros([]))
        return distance, distance + self._config.noise_reg * penalty

    @torch.no_grad()
    def _normalize_noise(self) -> None:
        """Bring each noise map back to mean 0 and variance 1."""
        if self._noise is not None:
            for each in self._maps(self._noise):
                each.sub_(each.mean()).mul_(each.square().mean().rsqrt())

    def _maps(self, noise: Tensor) -> list[Tensor]:
        """The noise of each layer, `[h, w]`, as views."""
        parts = torch.split(noise[0], [math.prod(size) for size in self._sizes])
        return [part.view(size) for part, size in zip(parts, self._sizes, strict=True)]


def learning_rate_ramp(share: float) -> float:
    """Factor of the learning rate after this share of the steps: linear up, half a cosine down."""
    down = min((1 - share) / _RAMP_DOWN, 1)
    return min(share / _RAMP_UP, 1) * (0.5 - 0.5 * math.cos(math.pi * down))


def style_noise(share: float) -> float:
    """Deviation of the noise on styles after this share of the steps, in units of their spread."""
    return _STYLE_NOISE * max(1 - share / _STYLE_NOISE_END, 0) ** 2


def noise_correlation(noise: Tensor) -> Tensor:
    """How alike neighbours of a noise map `[h, w]` are, at all scales: a scalar, 0 for white noise.

    At each scale, the squared mean of products with the next pixel to the right, and below, around
    the edges; then 2x2 pixels become one of the same variance.
    """
    total = noise.new_zeros([])
    while True:
        for axis in (0, 1):
            total = total + (noise * noise.roll(1, axis)).mean().square()
        if min(noise.shape) <= _SMALLEST_NOISE:
            return total
        noise = F.avg_pool2d(noise[None, None], 2)[0, 0] * 2


def _noise_maps(synthesis: torch.nn.Module) -> list[Tensor]:
    return [buffer for name, buffer in synthesis.named_buffers() if name.endswith("noise_const")]


@torch.no_grad()
def _spread(generator: Generator, c: Tensor, center: Tensor) -> Tensor:
    """Root mean squared distance of styles of `c` from their `center`, a scalar: σ_w."""
    z = latents(range(_SPREAD_SAMPLES), generator.z_dim).to(c.device)
    w = generator.mapping(z, c.expand(len(z), -1))[:, :1]
    spread: Tensor = (w - center).square().sum(dim=2).mean().sqrt()
    return spread


def _seen(features: Features, images: Tensor) -> list[Tensor]:
    """Features of images in -1..1, clamped to it; with transparency on grey, and of their alpha."""
    pixels = (images * 127.5 + 127.5).clamp(0, 255)
    if images.shape[1] in (1, 3):
        return features(pixels)
    alpha = pixels[:, -1:]
    opacity = alpha / 255
    return features(pixels[:, :-1] * opacity + 127.5 * (1 - opacity)) + features(alpha)
