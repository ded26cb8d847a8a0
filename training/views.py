"""What a critic sees of images: `View` is the interface, `DiffusedView` the one of dual diffusion.

A view draws timesteps first, where it has any, and then adds noise, to images or to the features of
a critic's first layer. `training.local_noise` has those without timesteps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from training.diffusion import Diffusion, DiffusionConfig
from training.schedules import AdaptiveHorizon, RampHorizon


class View(nn.Module, ABC):
    """Noise for D or for C."""

    @abstractmethod
    def draw_timesteps(self, count: int) -> Tensor | None:
        """int64 `[count]`, or None for noise that is the same at all times."""

    @abstractmethod
    def add_noise(self, x: Tensor, timesteps: Tensor | None, c: Tensor) -> Tensor:
        """Noisy images or features `[N, C, H, W]` of classes `c` (one-hot `[N, num_classes]`)."""

    def advance(self, num_images: int, progress: float) -> None:
        """Move on after `num_images` more images, at `progress` (0..1) of training."""
        return

    @abstractmethod
    def readings(self) -> dict[str, Tensor]:
        """Scalars that say how strong the noise is now."""

    @abstractmethod
    def examples(self, images: Tensor, count: int) -> tuple[Tensor, str]:
        """Each of images `[N, C, H, W]` `count` times with more and more noise, and what it is."""


class DiffusedView(View):
    """Noise of a diffusion whose horizon T moves."""

    def __init__(self, config: DiffusionConfig, schedule: AdaptiveHorizon | RampHorizon) -> None:
        super().__init__()
        self.diffusion = Diffusion(config)
        self.schedule = schedule

    def draw_timesteps(self, count: int) -> Tensor:
        """int64 `[count]` in 0..T, see `Diffusion.draw_timesteps`."""
        return self.diffusion.draw_timesteps(count)

    def add_noise(self, x: Tensor, timesteps: Tensor | None, c: Tensor) -> Tensor:
        """x_t of `x` `[N, C, H, W]` at `timesteps`; `c` does not matter."""
        assert timesteps is not None
        return self.diffusion.add_noise(x, timesteps)

    def advance(self, num_images: int, progress: float) -> None:
        """Move T as the schedule says, and draw timesteps anew."""
        self.diffusion.set_horizon(self.schedule.advance(num_images, progress))

    def readings(self) -> dict[str, Tensor]:
        """T and p."""
        return {"T": self.diffusion.horizon, "p": self.schedule.p}

    def examples(self, images: Tensor, count: int) -> tuple[Tensor, str]:
        """See `View`: from t = 0 to T."""
        horizon = self.diffusion.horizon
        share = torch.linspace(0, 1, count, device=horizon.device)
        timesteps = (share * horizon).round().long().repeat(len(images))
        noisy = self.diffusion.add_noise(images.repeat_interleave(count, dim=0), timesteps)
        return noisy, f"T = {int(horizon)}"
