"""The numbers behind the study's charts, against closed forms and draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.diffusion import DiffusionConfig, TimestepDistribution
from training.networks.layers import FullyConnectedLayer
from training.networks.timesteps import TimestepEmbedding, TimestepEmbeddingKind
from training.study.charts import per_timestep, spread_horizons
from training.study.quantities import (
    alphas_bar,
    diffusion_at,
    hidden_distance,
    label_share,
    sample_timesteps_of_images,
    signal_to_noise,
    timestep_law,
)


def test_alphas_bar_are_the_products_of_one_minus_beta() -> None:
    linear = alphas_bar(DiffusionConfig(), 50)
    betas = np.linspace(1e-4, 2e-2, 50)
    expected = torch.from_numpy(np.concatenate([[1.0], np.cumprod(1 - betas)]))
    torch.testing.assert_close(linear, expected, rtol=1e-5, atol=0)
    t = torch.arange(41, dtype=torch.float64)
    const = alphas_bar(DiffusionConfig(beta_schedule="const", beta_end=0.1), 40)
    torch.testing.assert_close(const, 0.9**t, rtol=1e-5, atol=0)
    jsd = alphas_bar(DiffusionConfig(beta_schedule="jsd"), 40)
    torch.testing.assert_close(jsd, 1 - t / 40, rtol=1e-5, atol=1e-6)


def test_signal_to_noise_is_that_of_noisy_pixels() -> None:
    torch.manual_seed(0)
    diffusion = diffusion_at(DiffusionConfig(noise_sd=0.2), 300)
    ratio = signal_to_noise(alphas_bar(diffusion.config, 300), 0.2)
    image = (2 * torch.randint(2, [1, 1, 200, 200]) - 1).float()  # pixels of power 1
    for t in (1, 100, 300):
        noisy = diffusion.add_noise(image, torch.tensor([t]))
        signal = diffusion.alphas_bar[t].sqrt() * image
        measured = signal.square().mean() / (noisy - signal).square().mean()
        assert measured == pytest.approx(float(ratio[t]), rel=0.03)
    assert ratio[0] == math.inf


def test_signal_to_noise_and_distance_at_round_numbers() -> None:
    ratio = signal_to_noise(torch.tensor([1.0, 0.5, 0.2, 0.0]), 0.5)
    torch.testing.assert_close(ratio, torch.tensor([math.inf, 4.0, 1.0, 0.0]))
    torch.testing.assert_close(hidden_distance(ratio), torch.tensor([0.0, 0.5, 1.0, math.inf]))


@pytest.mark.parametrize("num_clean", [0, 5, 20])
@pytest.mark.parametrize("kind", ["priority", "uniform"])
@pytest.mark.parametrize("horizon", [1, 30])
def test_the_law_is_what_training_draws(
    num_clean: int, kind: TimestepDistribution, horizon: int
) -> None:
    config = DiffusionConfig(ts_dist=kind, num_clean=num_clean, list_size=20)
    law = timestep_law(config, horizon)
    assert law.sum() == pytest.approx(1) and len(law) == horizon + 1
    assert law[0] == pytest.approx(num_clean / 20)
    torch.manual_seed(0)
    sample = sample_timesteps_of_images(config, horizon, num_lists=1000, per_list=40)
    assert len(sample) == 40_000
    frequency = torch.bincount(sample, minlength=horizon + 1).double() / len(sample)
    torch.testing.assert_close(frequency, law, rtol=0, atol=8e-3)


def test_priority_is_in_proportion_to_t() -> None:
    law = timestep_law(DiffusionConfig(), 100)  # half of the list is clean
    torch.testing.assert_close(law[1:], torch.arange(1, 101) / (100 * 101), check_dtype=False)
    uniform = timestep_law(DiffusionConfig(ts_dist="uniform"), 100)
    torch.testing.assert_close(uniform[1:], torch.full([100], 0.005), check_dtype=False)


def test_bins_hold_the_share_of_each_timestep() -> None:
    timesteps = torch.tensor([0, 0, 1, 2, 2, 45, 45, 45])
    edges, shares = per_timestep(timesteps, 45)  # three timesteps a bin
    assert edges[0] == 0.5 and edges[-1] == 45.5 and len(shares) == 15
    assert shares[0] == pytest.approx(3 / 3 / 8) and shares[-1] == pytest.approx(3 / 3 / 8)
    edges, shares = per_timestep(timesteps, 47)  # the last bin has two
    assert edges.diff()[-1] == 2
    assert float((shares * edges.diff()).sum()) == pytest.approx(6 / 8)


@pytest.mark.parametrize("kind", ["raw", "scaled", "fourier"])
def test_the_labels_share_is_that_of_a_new_linear_layer(kind: TimestepEmbeddingKind) -> None:
    torch.manual_seed(0)
    embedding = TimestepEmbedding(kind, 300)
    layer = FullyConnectedLayer(7 + embedding.dim, 50_000)
    label = torch.nn.functional.one_hot(torch.tensor([3]), 7).float()
    for t in (0, 2, 150, 300):
        beside = torch.cat([label, embedding(torch.tensor([t]))], dim=1)
        alone = torch.cat([label, torch.zeros(1, embedding.dim)], dim=1)
        with torch.no_grad():
            measured = layer(alone).var() / layer(beside).var()
        assert float(label_share(kind, 300)[t]) == pytest.approx(float(measured), rel=0.04)


def test_raw_timesteps_drown_the_label_and_the_others_do_not() -> None:
    t = torch.arange(1001)
    torch.testing.assert_close(label_share("raw", 1000), 1 / (1 + t**2))
    assert label_share("scaled", 1000).min() == pytest.approx(0.5)
    torch.testing.assert_close(label_share("fourier", 1000), torch.full([1001], 0.5))


def test_shown_horizons_run_from_the_first_to_the_last() -> None:
    assert spread_horizons(DiffusionConfig(t_min=10, t_max=10_000 // 10)) == [10, 46, 215, 1000]
    assert spread_horizons(DiffusionConfig(t_min=7, t_max=7)) == [7]
