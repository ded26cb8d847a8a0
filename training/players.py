"""The players of the game and what D and C see: all that a run learns, but for optimisers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from torch_utils.seeding import reseed
from training.augment import Augment, make_augment
from training.config import TrainingConfig
from training.diffusion import DiffusionConfig
from training.local_noise import GaussianConfig, GaussianNoise, LocalNoise, LocalNoiseConfig
from training.networks.classifier import Classifier
from training.networks.families import make_classifier, make_discriminator
from training.networks.generator import Generator
from training.networks.layers import FeatureNoise, one_hot
from training.networks.sngan_generator import SnganSynthesis
from training.schedules import (
    AdaptiveConfig,
    AdaptiveHorizon,
    RampConfig,
    RampHorizon,
    make_horizon,
)
from training.views import DiffusedView, View


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
        self.noise_at = config.noise_at
        self.G = Generator(config.generator, facts.num_classes, *shape)
        self.D = make_discriminator(
            config.discriminator, facts.num_classes, last_timestep(noise_d), shape
        )
        self.C: Classifier | None = None
        self.view_d = make_view(noise_d, config.horizon_d, facts.num_classes)
        self.view_c: View | None = None
        if config.classifier is not None:
            self.C = make_classifier(
                config.classifier, facts.num_classes, last_timestep(noise_c), shape
            )
            self.view_c = make_view(noise_c, config.horizon_c, facts.num_classes)
        self.augment = None if config.augment is None else make_augment(config.augment)
        self.augment_c = config.augment_c
        self.register_buffer("mean_path_length", torch.zeros([]))
        self.G_ema = copy.deepcopy(self.G).eval()
        self.requires_grad_(False)  # each phase wakes its own player

    @property
    def learned_noise(self) -> LocalNoise | None:
        """D's local noise, where there is any: G's step moves its deviations."""
        return self.view_d if isinstance(self.view_d, LocalNoise) else None

    def learners(self) -> dict[str, nn.Module]:
        """All that learns, by the names of the optimisers."""
        modules = {"G": self.G, "D": self.D, "C": self.C, "local": self.learned_noise}
        return {name: module for name, module in modules.items() if module is not None}

    def trained_parameters(self, name: str) -> list[nn.Parameter]:
        """Those of a learner that learn: all but the layers of D that are kept (FreezeD)."""
        player = self.learners()[name]
        kept = self.D.layers()[: self.frozen_layers] if player is self.D else []
        frozen = {id(parameter) for layer in kept for parameter in layer.parameters()}
        return [parameter for parameter in player.parameters() if id(parameter) not in frozen]

    def published(self) -> dict[str, Tensor]:
        """What a network file holds: G_ema, D, C and learnt deviations, named as in the state."""
        modules = {"G_ema": self.G_ema, "D": self.D, "C": self.C, "view_d": self.learned_noise}
        return {
            f"{name}.{key}": tensor
            for name, module in modules.items()
            if module is not None
            for key, tensor in module.state_dict().items()
        }

    def running_means(self) -> list[Tensor]:
        """Tensors that each process moves by its own share of a batch, to be averaged."""
        observed = [tensor for each in self._observers() for tensor in each.observations()]
        synthesis = self.G_ema.synthesis
        settled = synthesis.statistics() if isinstance(synthesis, SnganSynthesis) else []
        return [self.G.mapping.w_avg, self.mean_path_length, *observed, *settled]

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
        views = (self.view_d, self.view_c)
        schedules = [view.schedule for view in views if isinstance(view, DiffusedView)]
        return [*schedules, *([] if self.augment is None else [self.augment])]

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
        c = one_hot(labels, self.num_classes)
        images, timesteps, inner = self._see(self.view_d, images, c)
        logits: Tensor = self.D(images, c, timesteps, *inner)
        return logits

    def encode(self, images: Tensor) -> Tensor:
        """C's features `[N, embed_dim]` of its augmented, noisy view of images."""
        assert self.C is not None
        if self.augment is not None and self.augment_c:
            images = self.augment(images)
        nothing = images.new_zeros(len(images), 0)  # C must not be told the class
        images, timesteps, inner = self._see(self.view_c, images, nothing)
        return self.C.encode(images, timesteps, *inner)

    def encode_two_views(self, images: Tensor) -> Tensor:
        """C's features `[2 N, embed_dim]` of two views of each image.

        Views differ in augmentation, timestep and noise.
        """
        return self.encode(torch.cat([images, images]))

    def _see(
        self, view: View | None, images: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor | None, list[FeatureNoise]]:
        """What a critic takes in: images, timesteps, and what noise there is for its features."""
        if view is None:
            return images, None, []
        timesteps = view.draw_timesteps(len(images))
        if self.noise_at == "images":
            return view.add_noise(images, timesteps, c), timesteps, []
        return images, timesteps, [lambda x: view.add_noise(x, timesteps, c)]

    @torch.no_grad()
    def update_average(self, beta: float) -> None:
        """G_ema ← G + beta (G_ema - G); w_avg is copied, no other buffer moves."""
        averages: list[Tensor] = list(self.G_ema.parameters())
        currents: list[Tensor] = list(self.G.parameters())
        torch._foreach_lerp_(averages, currents, 1 - beta)
        self.G_ema.mapping.w_avg.copy_(self.G.mapping.w_avg)

    @torch.no_grad()
    def settle_average(self, z: Tensor, labels: Tensor, momentum: float) -> None:
        """Let what G_ema normalises batches by follow its features of `[N, z_dim]` and `[N]`."""
        synthesis = self.G_ema.synthesis
        if isinstance(synthesis, SnganSynthesis):
            synthesis.settle(self.G_ema.mapping(z, one_hot(labels, self.num_classes)), momentum)


def last_timestep(
    config: DiffusionConfig | LocalNoiseConfig | GaussianConfig | None,
) -> int | None:
    """The largest timestep that a critic may be told, None where it is told none."""
    return config.t_max if isinstance(config, DiffusionConfig) else None


def make_view(
    config: DiffusionConfig | LocalNoiseConfig | GaussianConfig | None,
    horizon: AdaptiveConfig | RampConfig,
    num_classes: int,
) -> View | None:
    """What `config` lets a critic see; `horizon` is for a diffusion."""
    match config:
        case DiffusionConfig():
            return DiffusedView(config, make_horizon(horizon, config.t_min, config.t_max))
        case LocalNoiseConfig():
            return LocalNoise(config, num_classes)
        case GaussianConfig():
            return GaussianNoise(config.noise_sd)
        case None:
            return None
