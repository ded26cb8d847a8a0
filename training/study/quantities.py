"""The numbers behind the pictures, each from the code that training runs."""

from __future__ import annotations

import torch
from torch import Tensor

from training.diffusion import Diffusion, DiffusionConfig
from training.networks.timesteps import TimestepEmbedding, TimestepEmbeddingKind


def diffusion_at(config: DiffusionConfig, horizon: int) -> Diffusion:
    """The forward process of `config` with its horizon at T = `horizon`."""
    diffusion = Diffusion(config)
    diffusion.set_horizon(torch.tensor(horizon))
    return diffusion


def alphas_bar(config: DiffusionConfig, horizon: int) -> Tensor:
    """ᾱ_0 .. ᾱ_T over a horizon T, float64 `[T + 1]`; ᾱ_0 = 1."""
    return diffusion_at(config, horizon).alphas_bar[: horizon + 1].double()


def signal_to_noise(alphas_bar: Tensor, noise_sd: float) -> Tensor:
    """ᾱ / ((1 - ᾱ) σ²), of the shape of `alphas_bar`: power of a pixel that is ±1 over the noise's.

    Infinite where there is no noise.
    """
    return alphas_bar / ((1 - alphas_bar) * noise_sd**2)


def hidden_distance(signal_to_noise: Tensor) -> Tensor:
    """1 / sqrt(SNR): how far apart in image space, images being ±1, two images become as close as
    the standard deviation of the noise between them.

    Their noisy distributions are two Gaussians whose means are d sqrt(SNR) standard deviations
    apart, d the Euclidean distance of the images.
    """
    return signal_to_noise.rsqrt()


def timestep_law(config: DiffusionConfig, horizon: int) -> Tensor:
    """Probability that an image is at t = 0 .. T, float64 `[T + 1]`.

    `num_clean` of `list_size` entries are t = 0; the others are 1..T in proportion to t
    (`priority`), or all alike. Averaged over the drawing of the list.
    """
    t = torch.arange(horizon + 1, dtype=torch.float64)
    weights = t if config.ts_dist == "priority" else (t > 0).double()
    clean = config.num_clean / config.list_size
    law = (1 - clean) * weights / weights.sum()
    law[0] = clean
    return law


def sample_timesteps_of_images(
    config: DiffusionConfig, horizon: int, num_lists: int, per_list: int
) -> Tensor:
    """Timesteps as training draws them, int64 `[num_lists * per_list]`: a new list, then picks."""
    diffusion = Diffusion(config)
    draws = []
    for _ in range(num_lists):
        diffusion.set_horizon(torch.tensor(horizon))
        draws.append(diffusion.draw_timesteps(per_list))
    return torch.cat(draws)


def label_share(kind: TimestepEmbeddingKind, t_max: int) -> Tensor:
    """The label's share of D's condition at t = 0 .. t_max, float32 `[t_max + 1]`.

    The condition is a one-hot label beside e(t). A linear layer whose weights are independent and
    of unit variance, as D's is at first, gives each output the variance 1 + |e(t)|², of which the
    label has 1; what follows sees no more than this ratio, for the sum is normalised.
    """
    embedding: Tensor = TimestepEmbedding(kind, t_max)(torch.arange(t_max + 1))
    return 1 / (1 + embedding.square().sum(dim=1))
