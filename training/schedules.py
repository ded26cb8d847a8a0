"""How the horizon T of a diffusion moves while training goes on (DuDGAN section 3.1)."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

import torch
from pydantic import Field, Tag
from torch import Tensor, nn

from dnnlib import Config
from training.augment.adaptive import AdaptiveProbability
from training.kinds import by_kind

UPDATE_INTERVAL = 4  # training steps between moves of T


class AdaptiveConfig(Config):
    """A horizon driven by how often D is right on real images (Diffusion-GAN, eq. 11).

    D's unless told otherwise. C's may follow D in the same way.
    """

    kind: Literal["adaptive"] = "adaptive"
    target: float = Field(0.6, ge=-1, le=1)  # r that T is steered to
    ada_kimg: float = Field(100.0, gt=0)  # thousand images for p to go from 0 to 1


class RampConfig(Config):
    """A horizon that is linear in the images seen: C's unless told otherwise."""

    kind: Literal["ramp"] = "ramp"
    end: float = Field(1.0, ge=0, le=1)  # p at the end of training


_Kinds = Annotated[AdaptiveConfig, Tag("adaptive")] | Annotated[RampConfig, Tag("ramp")]
HorizonConfigD = Annotated[_Kinds, by_kind("adaptive")]
HorizonConfigC = Annotated[_Kinds, by_kind("ramp")]


class HorizonSchedule(Protocol):
    """Moves a horizon between `t_min` and `t_max`."""

    def observe(self, real_logits: Tensor) -> None:
        """Take note of D's logits on real images `[N, 1]`."""

    def observations(self) -> list[Tensor]:
        """What `observe` moves; equal on all processes once it is averaged over them."""

    def advance(self, num_images: int, progress: float) -> Tensor:
        """T (int64 scalar) after `num_images` more images, at `progress` (0..1) of training."""


class AdaptiveHorizon(AdaptiveProbability):
    """ADA's p stretched over T: it follows sign(r - target), r the mean of sign(D(real))."""

    def __init__(self, config: AdaptiveConfig, t_min: int, t_max: int) -> None:
        super().__init__(config.target, config.ada_kimg)
        self.t_min, self.t_max = t_min, t_max

    def advance(self, num_images: int, progress: float) -> Tensor:
        """T (int64 scalar) after `num_images` more images; `progress` does not matter."""
        self.move(num_images)
        return horizon_at(self.p, self.t_min, self.t_max)


class RampHorizon(nn.Module):
    """p grows linearly from 0 to `end` over the whole training."""

    p: Tensor

    def __init__(self, config: RampConfig, t_min: int, t_max: int) -> None:
        super().__init__()
        self.config, self.t_min, self.t_max = config, t_min, t_max
        self.register_buffer("p", torch.zeros([]))

    def observe(self, real_logits: Tensor) -> None:
        """A ramp does not look at D's logits `[N, 1]`."""

    def observations(self) -> list[Tensor]:
        """None: there is nothing to average over processes."""
        return []

    def advance(self, num_images: int, progress: float) -> Tensor:
        """T (int64 scalar) at `progress` (0..1) of training; `num_images` does not matter."""
        self.p.fill_(self.config.end * min(progress, 1.0))
        return horizon_at(self.p, self.t_min, self.t_max)


def make_horizon(
    config: AdaptiveConfig | RampConfig, t_min: int, t_max: int
) -> AdaptiveHorizon | RampHorizon:
    """What moves T between `t_min` and `t_max` as `config` says."""
    if isinstance(config, AdaptiveConfig):
        return AdaptiveHorizon(config, t_min, t_max)
    return RampHorizon(config, t_min, t_max)


def horizon_at(p: Tensor, t_min: int, t_max: int) -> Tensor:
    """T = t_min + round(p (t_max - t_min)) as an int64 scalar, p in 0..1."""
    return t_min + (p * (t_max - t_min)).round().long()
