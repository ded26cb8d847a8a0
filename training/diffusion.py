"""Dual diffusion: Gaussian-mixture timestep noise for what D and C see.

One module, two instances. Forward process after Ho 2020 (2006.11239, eq. 4) with a noise scale σ
as in Diffusion-GAN (2206.02262, section 3): x_t = sqrt(ᾱ_t) x_0 + sqrt(1 - ᾱ_t) σ ε. Everything
lives in buffers on the device; nothing here waits for the device.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dnnlib import Config

BetaSchedule = Literal["linear", "quad", "const", "jsd", "sigmoid", "cosine"]
TimestepDistribution = Literal["priority", "uniform"]


class DiffusionConfig(Config):
    """One network's noise: its strength, its horizon and how timesteps are drawn.

    D and C have one each (`training.config.TrainingConfig.diffusion_d`, `.diffusion_c`); how their
    horizons move is `horizon_d` and `horizon_c`, see `training.schedules`.
    """

    kind: Literal["diffusion"] = "diffusion"
    noise_sd: float = Field(0.05, ge=0)  # σ, in units of images in ±1
    t_min: int = Field(10, ge=1)  # first horizon
    t_max: int = Field(1000, ge=1, le=5000)  # last horizon
    beta_schedule: BetaSchedule = "linear"
    beta_start: float = Field(1e-4, ge=0, lt=1)
    beta_end: float = Field(2e-2, ge=0, lt=1)
    ts_dist: TimestepDistribution = "priority"
    list_size: int = Field(64, ge=1, le=2**16)
    num_clean: int = Field(32, ge=0)  # entries of the list that are 0: clean images

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.t_max < self.t_min:
            raise ValueError(f"t_max must be at least t_min ({self.t_min})")
        if self.num_clean > self.list_size:
            raise ValueError(f"num_clean must be at most list_size ({self.list_size})")
        return self


class Diffusion(nn.Module):
    """The forward process over a horizon T that moves between `t_min` and `t_max`."""

    horizon: Tensor
    alphas_bar: Tensor
    timestep_list: Tensor

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("horizon", torch.tensor(config.t_min))
        self.register_buffer("alphas_bar", torch.ones(config.t_max + 1))
        self.register_buffer("timestep_list", torch.zeros(config.list_size, dtype=torch.int64))
        self.set_horizon(self.horizon.clone())

    def set_horizon(self, horizon: Tensor) -> None:
        """Rebuild ᾱ over `horizon` (int64 scalar, T) and draw the list of timesteps anew."""
        config = self.config
        self.horizon.copy_(horizon)
        betas = betas_over_horizon(
            config.beta_schedule, self.horizon, config.t_max, config.beta_start, config.beta_end
        )
        self.alphas_bar[1:] = (1 - betas).cumprod(dim=0)
        self.timestep_list[config.num_clean :] = sample_timesteps(
            config.ts_dist, self.horizon, config.t_max, config.list_size - config.num_clean
        )

    def draw_timesteps(self, count: int) -> Tensor:
        """int64 `[count]`: each image picks one entry of the list, 0 for clean."""
        picks = torch.randint(self.config.list_size, [count], device=self.timestep_list.device)
        return self.timestep_list[picks]

    def add_noise(self, images: Tensor, timesteps: Tensor) -> Tensor:
        """x_t of images `[N, C, H, W]` about ±1 at timesteps int64 `[N]` in 0..t_max."""
        alpha_bar = self.alphas_bar[timesteps][:, None, None, None]
        signal, sd = (part.sqrt().to(images.dtype) for part in (alpha_bar, 1 - alpha_bar))
        noise = torch.randn_like(images) * self.config.noise_sd
        return signal * images + sd * noise

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy images `[N, C, H, W]`, their timesteps int64 `[N]`; gradients flow to `images`."""
        timesteps = self.draw_timesteps(len(images))
        return self.add_noise(images, timesteps), timesteps


def betas_over_horizon(
    schedule: BetaSchedule, horizon: Tensor, t_max: int, beta_start: float, beta_end: float
) -> Tensor:
    """β_1 .. β_t_max as float32 `[t_max]`, stretched over 1..T; 0 beyond the horizon T."""
    t = torch.arange(1, t_max + 1, device=horizon.device)
    # 0 at t = 1, 1 at t = T.
    u = (t - 1) / (horizon - 1).clamp(min=1)
    span = beta_end - beta_start
    if schedule == "linear":
        betas = beta_start + span * u
    elif schedule == "quad":
        betas = (beta_start**0.5 + (beta_end**0.5 - beta_start**0.5) * u).square()
    elif schedule == "const":
        betas = torch.full_like(u, beta_end)
    elif schedule == "jsd":
        betas = 1 / (horizon - t + 1).clamp(min=1)
    elif schedule == "sigmoid":
        betas = beta_start + span * torch.sigmoid(12 * u - 6)
    else:
        betas = (1 - _cosine_alpha_bar(t / horizon) / _cosine_alpha_bar((t - 1) / horizon)).clamp(
            max=0.999
        )
    return torch.where(t <= horizon, betas, torch.zeros_like(betas))


def _cosine_alpha_bar(fraction: Tensor) -> Tensor:
    """ᾱ of Nichol 2021 (2102.09672, eq. 17) at `fraction` of the horizon, 0..1."""
    return torch.cos((fraction + 0.008) / 1.008 * math.pi / 2).square()


def sample_timesteps(
    distribution: TimestepDistribution, horizon: Tensor, t_max: int, count: int
) -> Tensor:
    """int64 `[count]` in 1..T: probability proportional to t (`priority`) or the same for all.

    Inverse transform on the device: the cumulated weights are whole numbers below 2^24, which
    float32 holds exactly, for every t_max that the config lets through.
    """
    t = torch.arange(1, t_max + 1, device=horizon.device)
    weights = t.float() if distribution == "priority" else torch.ones_like(t).float()
    cumulated = torch.where(t <= horizon, weights, torch.zeros_like(weights)).cumsum(dim=0)
    u = torch.rand(count, device=horizon.device) * cumulated[-1]
    return torch.minimum(torch.searchsorted(cumulated, u, right=True) + 1, horizon)
