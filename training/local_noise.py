"""The second noise model: Gaussian noise that needs no timesteps (`--noise-model local`).

C sees global noise alone, x + σ_g ε. D sees local noise beside it, whose standard deviation is
learned for each class: x + σ_g ε + σ_c ε', which is the same as x + sqrt(σ_g² + σ_c²) ε.

G's step moves σ_c too, by the gradient of its adversarial loss through the noise in generated
images, of the same loss with its sign turned through the noise in real ones
(`LossConfig.local_from`; docs/decisions.md says why), and of the penalty λ_local · mean(σ_c²).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, Tag, model_validator
from torch import Tensor, nn

from dnnlib import Config
from training.diffusion import DiffusionConfig
from training.kinds import by_kind
from training.views import View


class GaussianConfig(Config):
    """Global noise of a fixed strength."""

    kind: Literal["gaussian"] = "gaussian"
    noise_sd: float = Field(0.05, ge=0)  # σ_g, in units of images in ±1


class LocalNoiseConfig(Config):
    """Global noise, and local noise of a learned strength for each class."""

    kind: Literal["local"] = "local"
    noise_sd: float = Field(0.05, ge=0)  # σ_g
    local_sd: float = Field(0.05, gt=0)  # σ_c of every class to begin with
    local_sd_max: float = Field(0.5, gt=0)  # σ_c stays below

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.local_sd >= self.local_sd_max:
            raise ValueError(f"local_sd must be below local_sd_max ({self.local_sd_max})")
        return self


# What D may see, and what C may: local noise is D's alone. A diffusion where the kind is left out.
NoiseConfigD = Annotated[
    Annotated[DiffusionConfig, Tag("diffusion")]
    | Annotated[LocalNoiseConfig, Tag("local")]
    | Annotated[GaussianConfig, Tag("gaussian")],
    by_kind("diffusion"),
]
NoiseConfigC = Annotated[
    Annotated[DiffusionConfig, Tag("diffusion")] | Annotated[GaussianConfig, Tag("gaussian")],
    by_kind("diffusion"),
]


class GaussianNoise(View):
    """x + σ_g ε."""

    def __init__(self, noise_sd: float) -> None:
        super().__init__()
        self.noise_sd = noise_sd

    def draw_timesteps(self, count: int) -> None:
        """None: the noise is the same at all times."""

    def add_noise(self, x: Tensor, timesteps: Tensor | None, c: Tensor) -> Tensor:
        """`x` `[N, C, H, W]` with noise; `timesteps` and `c` do not matter."""
        return x + self.noise_sd * torch.randn_like(x)

    def readings(self) -> dict[str, Tensor]:
        """Nothing moves."""
        return {}

    def examples(self, images: Tensor, count: int) -> tuple[Tensor, str]:
        """See `View`: clean, then again and again with noise."""
        strengths = images.new_full([count], self.noise_sd)
        strengths[0] = 0
        return _with_strengths(images, strengths), f"sd {self.noise_sd:g}"


class LocalNoise(GaussianNoise):
    """x + sqrt(σ_g² + σ_c²) ε, with σ_c = σ_max · sigmoid(ρ_c) for the class of each image.

    The sigmoid keeps σ_c in (0, σ_max) whatever a step does to ρ_c. Far below σ_max it is like
    exp(ρ_c): a step changes σ_c by a share of itself, small and large ones alike.
    """

    def __init__(self, config: LocalNoiseConfig, num_classes: int) -> None:
        """Without classes (0) there is one deviation for all images."""
        super().__init__(config.noise_sd)
        self.max_sd = config.local_sd_max
        share = config.local_sd / config.local_sd_max
        self.rho = nn.Parameter(torch.full([max(num_classes, 1)], math.log(share / (1 - share))))

    def deviations(self) -> Tensor:
        """σ_c of each class, `[num_classes]`; `[1]` without classes."""
        return self.max_sd * self.rho.sigmoid()

    def penalty(self) -> Tensor:
        """mean(σ_c²), a scalar."""
        return self.deviations().square().mean()

    def add_noise(self, x: Tensor, timesteps: Tensor | None, c: Tensor) -> Tensor:
        """See `View`. `c` may mix classes, then σ_c is a mean; differentiable in σ_c through ε."""
        sd = self.deviations()
        own = c @ sd if c.shape[1] > 0 else sd.expand(len(x))
        strength = (self.noise_sd**2 + own.square()).sqrt().to(x.dtype)
        return x + strength[:, None, None, None] * torch.randn_like(x)

    def readings(self) -> dict[str, Tensor]:
        """Mean, least and largest σ_c."""
        sd = self.deviations().detach()
        return {"local_sd_mean": sd.mean(), "local_sd_min": sd.min(), "local_sd_max": sd.max()}

    def examples(self, images: Tensor, count: int) -> tuple[Tensor, str]:
        """See `View`: clean, then with the noise of classes, the least noisy first."""
        sd = self.deviations().detach().sort().values
        picks = torch.linspace(0, len(sd) - 1, count - 1, device=sd.device).round().long()
        strengths = (self.noise_sd**2 + sd[picks].square()).sqrt()
        caption = f"sd {strengths[0].item():.2f}-{strengths[-1].item():.2f}"
        return _with_strengths(images, torch.cat([strengths.new_zeros(1), strengths])), caption


def _with_strengths(images: Tensor, strengths: Tensor) -> Tensor:
    """Each of images `[N, C, H, W]` with noise of each of `strengths` `[count]`."""
    repeated = images.repeat_interleave(len(strengths), dim=0)
    sd = strengths.repeat(len(images))[:, None, None, None]
    return repeated + sd * torch.randn_like(repeated)
