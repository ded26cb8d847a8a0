"""The forward process, its timesteps and its horizons."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import DATA
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from training.diffusion import (
    BetaSchedule,
    Diffusion,
    DiffusionConfig,
    betas_over_horizon,
    sample_timesteps,
)
from training.schedules import AdaptiveConfig, AdaptiveHorizon, RampConfig, RampHorizon

SCHEDULES: list[BetaSchedule] = ["linear", "quad", "const", "jsd", "sigmoid", "cosine"]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("horizon", [10, 78, 1000])
def test_betas_match_the_vectors(schedule: BetaSchedule, horizon: int) -> None:
    with np.load(DATA / "dual_diffusion.npz") as file:
        expected = torch.from_numpy(file[f"betas_{schedule}_{horizon}"]).float()
    betas = betas_over_horizon(schedule, torch.tensor(horizon), 1000, 1e-4, 2e-2)
    torch.testing.assert_close(betas[:horizon], expected, rtol=2e-3, atol=2e-6)
    assert betas[horizon:].eq(0).all()


def test_noisy_images_have_the_moments_of_the_forward_process() -> None:
    torch.manual_seed(0)
    diffusion = Diffusion(DiffusionConfig(noise_sd=0.3))
    diffusion.set_horizon(torch.tensor(500))
    images = torch.full([20000, 1, 2, 2], 0.7)
    betas = np.linspace(1e-4, 2e-2, 500)
    for t in (1, 100, 500):
        alpha_bar = np.prod(1 - betas[:t])
        noisy = diffusion.add_noise(images, torch.full([len(images)], t))
        assert noisy.mean().item() == pytest.approx(0.7 * alpha_bar**0.5, abs=5e-3)
        assert noisy.std().item() == pytest.approx(0.3 * (1 - alpha_bar) ** 0.5, rel=0.02)


def test_timestep_zero_is_the_clean_image_and_half_of_the_list_is_clean() -> None:
    diffusion = Diffusion(DiffusionConfig())
    images = torch.randn(4, 1, 4, 4)
    torch.testing.assert_close(
        diffusion.add_noise(images, torch.zeros(4, dtype=torch.int64)), images
    )
    assert diffusion.timestep_list.eq(0).sum() == 32
    timesteps = diffusion.draw_timesteps(20000)
    assert timesteps.eq(0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert set(timesteps.tolist()) == set(diffusion.timestep_list.tolist())


def test_priority_draws_t_in_proportion_to_t_and_uniform_evenly() -> None:
    torch.manual_seed(0)
    horizon = torch.tensor(20)
    t = torch.arange(1, 21).double()
    for distribution, weights in (("priority", t), ("uniform", torch.ones(20).double())):
        draws = sample_timesteps(distribution, horizon, 1000, 200_000)  # type: ignore[arg-type]
        frequency = torch.bincount(draws, minlength=21).double() / len(draws)
        assert frequency[0] == 0
        torch.testing.assert_close(frequency[1:], weights / weights.sum(), rtol=0, atol=3e-3)


def test_gradients_flow_through_the_noise() -> None:
    diffusion = Diffusion(DiffusionConfig())
    images = torch.randn(8, 1, 4, 4, requires_grad=True)
    noisy, timesteps = diffusion(images)
    noisy.sum().backward()
    assert images.grad is not None
    expected = diffusion.alphas_bar[timesteps].sqrt()[:, None, None, None].expand(8, 1, 4, 4)
    torch.testing.assert_close(images.grad, expected)


@given(
    r=st.floats(-1, 1),
    batches=st.integers(1, 300),
    t_min=st.integers(1, 50),
    extent=st.integers(0, 900),
)
def test_adaptive_horizon_moves_the_right_way_and_stays_in_range(
    r: float, batches: int, t_min: int, extent: int
) -> None:
    schedule = AdaptiveHorizon(AdaptiveConfig(target=0.5, ada_kimg=10), t_min, t_min + extent)
    schedule.p.fill_(0.5)
    num_right = round((r + 1) / 2 * 100)
    logits = torch.cat([torch.full([num_right, 1], 2.0), torch.full([100 - num_right, 1], -3.0)])
    measured = logits.sign().mean().item()
    before = 0.5
    for _ in range(batches):
        schedule.observe(logits)
        horizon = schedule.advance(64, 0.0)
        assert t_min <= int(horizon) <= t_min + extent
    direction = np.sign(round(measured - 0.5, 6))
    expected = np.clip(before + direction * batches * 64 / 10_000, 0, 1)
    assert schedule.p.item() == pytest.approx(expected, abs=1e-4)


def test_adaptive_horizon_forgets_what_it_saw_before_the_last_move() -> None:
    schedule = AdaptiveHorizon(AdaptiveConfig(ada_kimg=1), 10, 1000)
    schedule.observe(torch.ones(64, 1))
    schedule.advance(100, 0.0)
    assert schedule.p.item() == pytest.approx(0.1)
    schedule.observe(-torch.ones(1, 1))
    schedule.advance(50, 0.0)
    assert schedule.p.item() == pytest.approx(0.05)
    schedule.advance(50, 0.0)  # nothing observed, nothing moves
    assert schedule.p.item() == pytest.approx(0.05)


def test_ramp_is_linear_in_progress_up_to_its_end() -> None:
    schedule = RampHorizon(RampConfig(end=0.5), 10, 300)
    assert [int(schedule.advance(0, x)) for x in (0.0, 0.5, 1.0, 2.0)] == [10, 82, 155, 155]


def test_the_list_follows_the_horizon() -> None:
    diffusion = Diffusion(DiffusionConfig())
    diffusion.set_horizon(torch.tensor(1000))
    assert diffusion.timestep_list.max() > 500
    diffusion.set_horizon(torch.tensor(10))
    assert diffusion.timestep_list[32:].min() >= 1
    assert diffusion.timestep_list.max() <= 10


@pytest.mark.parametrize(
    "wrong",
    [{"noise_sd": -1}, {"t_min": 0}, {"t_min": 20, "t_max": 10}, {"num_clean": 65}, {"sigma": 1}],
)
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DiffusionConfig(**wrong)  # type: ignore[arg-type]


def test_noise_keeps_the_arithmetic_of_what_it_is_added_to() -> None:
    diffusion = Diffusion(DiffusionConfig())
    features = torch.randn(4, 2, 3, 3, dtype=torch.bfloat16)
    noisy, _ = diffusion(features)
    assert noisy.dtype == torch.bfloat16
