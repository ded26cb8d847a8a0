"""The players of the game and what D and C see: all that a run learns, but for optimisers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from torch_utils.seeding import reseed
from training.augment import Augment, make_augment
from training.config import TrainingConfig
from training.diffusion import Diffusion, DiffusionConfig
from training.networks.classifier import Classifier
from training.networks.discriminator import Discriminator
from training.networks.generator import Generator
from training.networks.layers import one_hot
from training.schedules import AdaptiveHorizon, RampHorizon


class NoisyView(nn.Module):
    """What one critic sees: images with the noise of its own diffusion, and how far that goes."""

    def __init__(self, config: DiffusionConfig, schedule: AdaptiveHorizon | RampHorizon) -> None:
        super().__init__()
        self.diffusion = Diffusion(config)
        self.schedule = schedule

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy images `[N, C, H, W]` and their timesteps int64 `[N]`."""
        noisy: tuple[Tensor, Tensor] = self.diffusion(images)
        return noisy

    def advance(self, num_images: int, progress: float) -> None:
        """Move the horizon after `num_images` more images, at `progress` (0..1) of training."""
        self.diffusion.set_horizon(self.schedule.advance(num_images, progress))


class Players(nn.Module):
    """G, D and C, the moving average of G, and the views of D and C (None: without noise)."""

    mean_path_length: Tensor

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        reseed(config.seed, "init")
        facts = config.facts
        shape = (facts.width, facts.height, facts.num_channels)
        noise_d, noise_c = config.diffusion_d, config.diffusion_c
        self.num_classes = facts.num_classes
        self.frozen_layers = config.freezed
        self.G = Generator(config.generator, facts.num_classes, *shape)
        self.D = Discriminator(
            config.discriminator, facts.num_classes, noise_d.t_max if noise_d else None, *shape
        )
        self.C: Classifier | None = None
        self.view_d: NoisyView | None = None
        self.view_c: NoisyView | None = None
        if noise_d is not None:
            horizon_d = AdaptiveHorizon(config.horizon_d, noise_d.t_min, noise_d.t_max)
            self.view_d = NoisyView(noise_d, horizon_d)
        if config.classifier is not None:
            self.C = Classifier(
                config.classifier, facts.num_classes, noise_c.t_max if noise_c else None, *shape
            )
            if noise_c is not None:
                horizon_c = RampHorizon(config.horizon_c, noise_c.t_min, noise_c.t_max)
                self.view_c = NoisyView(noise_c, horizon_c)
        self.augment = None if config.augment is None else make_augment(config.augment)
        self.augment_c = config.augment_c
        self.register_buffer("mean_path_length", torch.zeros([]))
        self.G_ema = copy.deepcopy(self.G)
        self.requires_grad_(False)  # each phase wakes its own player

    def trained_parameters(self, player: nn.Module) -> list[nn.Parameter]:
        """Those of G, D or C that learn: all but the layers of D that are kept (FreezeD)."""
        kept = self.D.first_layers(self.frozen_layers) if player is self.D else []
        frozen = {id(parameter) for layer in kept for parameter in layer.parameters()}
        return [parameter for parameter in player.parameters() if id(parameter) not in frozen]

    def running_means(self) -> list[Tensor]:
        """Tensors that each process moves by its own share of a batch, to be averaged."""
        observed = [tensor for each in self._observers() for tensor in each.observations()]
        return [self.G.mapping.w_avg, self.mean_path_length, *observed]

    def observe(self, real_logits: Tensor) -> None:
        """Let what adapts to D take note of its logits on real images `[N, 1]`."""
        for each in self._observers():
            each.observe(real_logits)

    def advance(self, num_images: int, progress: float) -> None:
        """Move horizons and augmentation after `num_images` more images, at `progress` (0..1)."""
        for view in (self.view_d, self.view_c):
            if view is not None:
                view.advance(num_images, progress)
        if self.augment is not None:
            self.augment.advance(num_images)

    def _observers(self) -> list[AdaptiveHorizon | RampHorizon | Augment]:
        schedule = [] if self.view_d is None else [self.view_d.schedule]
        return schedule + ([] if self.augment is None else [self.augment])

    def styles(self, z: Tensor, labels: Tensor, style_mixing: float) -> Tensor:
        """ws `[N, num_ws, w_dim]` of latents `[N, z_dim]` and labels `[N]` for training.

        With probability `style_mixing` the layers from a random one on follow a second latent
        (StyleGAN section 3.1).
        """
        c = one_hot(labels, self.num_classes)
        ws: Tensor = self.G.mapping(z, c, update_emas=True)
        if style_mixing == 0:
            return ws
        n, num_ws = len(z), self.G.num_ws
        mixed = torch.rand(n, 1, device=z.device) < style_mixing
        first = torch.randint(1, num_ws, [n, 1], device=z.device)
        from_second = mixed & (torch.arange(num_ws, device=z.device) >= first)
        second = self.G.mapping(torch.randn_like(z), c)
        return torch.where(from_second[:, :, None], second, ws)

    def criticise(self, images: Tensor, labels: Tensor) -> Tensor:
        """D's logits `[N, 1]` on its augmented, noisy view of images."""
        if self.augment is not None:
            images = self.augment(images)
        images, timesteps = see(self.view_d, images)
        logits: Tensor = self.D(images, one_hot(labels, self.num_classes), timesteps)
        return logits

    def encode_two_views(self, images: Tensor) -> Tensor:
        """C's features `[2 N, embed_dim]` of two views of each image.

        Views differ in augmentation, timestep and noise.
        """
        assert self.C is not None
        images = torch.cat([images, images])
        if self.augment is not None and self.augment_c:
            images = self.augment(images)
        images, timesteps = see(self.view_c, images)
        return self.C.encode(images, timesteps)

    @torch.no_grad()
    def update_average(self, beta: float) -> None:
        """G_ema ← G + beta (G_ema - G); buffers are copied."""
        averages: list[Tensor] = list(self.G_ema.parameters())
        currents: list[Tensor] = list(self.G.parameters())
        torch._foreach_lerp_(averages, currents, 1 - beta)
        for average, current in zip(self.G_ema.buffers(), self.G.buffers(), strict=True):
            average.copy_(current)


def see(view: NoisyView | None, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Images through a critic's view: noisy with timesteps, or as they are without a view."""
    if view is None:
        return images, None
    seen: tuple[Tensor, Tensor] = view(images)
    return seen
