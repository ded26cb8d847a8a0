"""Properties of the forward process, its timesteps and its horizons, for any settings."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import get_args
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.diffusion import (
    BetaSchedule,
    Diffusion,
    DiffusionConfig,
    TimestepDistribution,
    betas_over_horizon,
    sample_timesteps,
)
from training.schedules import (
    AdaptiveConfig,
    AdaptiveHorizon,
    RampConfig,
    RampHorizon,
    horizon_at,
    make_horizon,
)

FEW = settings(max_examples=30, deadline=None)
schedules = st.sampled_from(get_args(BetaSchedule))
horizons = st.integers(1, 200)


@st.composite
def diffusions(draw: st.DrawFn) -> Diffusion:
    """Any diffusion, at any horizon within its bounds."""
    t_min = draw(st.integers(1, 100))
    size = draw(st.integers(1, 80))
    config = DiffusionConfig(
        noise_sd=draw(st.floats(0, 1)),
        t_min=t_min,
        t_max=draw(st.integers(t_min, 300)),
        beta_schedule=draw(schedules),
        beta_start=draw(st.floats(0, 0.01)),
        beta_end=draw(st.floats(0.01, 0.1)),
        ts_dist=draw(st.sampled_from(get_args(TimestepDistribution))),
        list_size=size,
        num_clean=draw(st.integers(0, size)),
    )
    diffusion = Diffusion(config)
    diffusion.set_horizon(torch.tensor(draw(st.integers(t_min, config.t_max))))
    return diffusion


@FEW
@given(diffusions(), st.integers(0, 2**31), st.data())
def test_an_image_shrinks_by_what_the_noise_gains(
    diffusion: Diffusion, seed: int, data: st.DataObject
) -> None:
    """Ho 2020, eq. 4: the squared coefficients of image and noise sum to one."""
    config, images = diffusion.config, torch.rand(2, 3, 4, 5) * 2 - 1
    t = data.draw(st.lists(st.integers(0, config.t_max), min_size=2, max_size=2))
    torch.manual_seed(seed)
    noisy = diffusion.add_noise(images, torch.tensor(t))
    torch.manual_seed(seed)
    noise = torch.randn_like(images)
    for n, alpha_bar in enumerate(diffusion.alphas_bar[t].tolist()):
        expected = math.sqrt(alpha_bar) * images[n]
        expected = expected + math.sqrt(1 - alpha_bar) * config.noise_sd * noise[n]
        torch.testing.assert_close(noisy[n], expected, rtol=1e-5, atol=1e-6)
        if t[n] == 0:
            assert torch.equal(noisy[n], images[n])


@FEW
@given(diffusions())
def test_signal_only_falls_and_rests_beyond_the_horizon(diffusion: Diffusion) -> None:
    alphas_bar, horizon = diffusion.alphas_bar, int(diffusion.horizon)
    assert alphas_bar[0] == 1 and len(alphas_bar) == diffusion.config.t_max + 1
    assert (alphas_bar.diff() <= 0).all() and (alphas_bar >= 0).all()
    assert (alphas_bar[horizon:] == alphas_bar[horizon]).all()
    betas = betas_over_horizon(
        diffusion.config.beta_schedule,
        diffusion.horizon,
        diffusion.config.t_max,
        diffusion.config.beta_start,
        diffusion.config.beta_end,
    )
    torch.testing.assert_close(alphas_bar[1:], alphas_bar[:-1] * (1 - betas))


@FEW
@given(schedules, st.integers(2, 300), st.integers(0, 50))
def test_betas_grow_and_do_not_depend_on_the_room_beyond_the_horizon(
    schedule: BetaSchedule, horizon: int, room: int
) -> None:
    betas = betas_over_horizon(schedule, torch.tensor(horizon), horizon + room, 1e-4, 2e-2)
    tight = betas_over_horizon(schedule, torch.tensor(horizon), horizon, 1e-4, 2e-2)
    torch.testing.assert_close(betas[:horizon], tight)
    assert (tight.diff() >= -1e-6).all() and (tight >= 0).all() and (tight <= 1).all()


def test_ends_of_the_schedules_are_those_of_their_formulas() -> None:
    horizon = torch.tensor(50)
    ends = {
        name: betas_over_horizon(name, horizon, 60, 1e-3, 4e-2) for name in get_args(BetaSchedule)
    }
    for name, first, last in (
        ("linear", 1e-3, 4e-2),
        ("quad", 1e-3, 4e-2),
        ("const", 4e-2, 4e-2),
        ("jsd", 1 / 50, 1),
        ("sigmoid", 1e-3 + 0.039 / (1 + math.exp(6)), 1e-3 + 0.039 / (1 + math.exp(-6))),
        ("cosine", 1 - _nichol(1 / 50) / _nichol(0), 0.999),
    ):
        assert ends[name][0].item() == pytest.approx(first, rel=1e-4), name
        assert ends[name][49].item() == pytest.approx(last, rel=1e-4), name


def _nichol(fraction: float) -> float:
    """Nichol 2021, 2102.09672, eq. 17."""
    return math.cos((fraction + 0.008) / 1.008 * math.pi / 2) ** 2


@FEW
@given(diffusions(), st.integers(0, 500))
def test_images_take_their_timesteps_from_the_list(diffusion: Diffusion, count: int) -> None:
    config, horizon = diffusion.config, int(diffusion.horizon)
    clean, noisy = diffusion.timestep_list.tensor_split([config.num_clean])
    assert len(diffusion.timestep_list) == config.list_size and clean.eq(0).all()
    assert (noisy >= 1).all() and (noisy <= horizon).all()
    timesteps = diffusion.draw_timesteps(count)
    assert timesteps.shape == (count,) and timesteps.dtype == torch.int64
    assert set(timesteps.tolist()) <= set(diffusion.timestep_list.tolist())


def test_the_mixture_has_the_mean_variance_of_its_components() -> None:
    """Over the list: E x² = mean of ᾱ_t x_0² + (1 - ᾱ_t) σ²."""
    torch.manual_seed(0)
    diffusion = Diffusion(DiffusionConfig(noise_sd=0.5, t_max=400, num_clean=16))
    diffusion.set_horizon(torch.tensor(400))
    alpha_bar = diffusion.alphas_bar[diffusion.timestep_list]
    expected = (alpha_bar * 0.8**2 + (1 - alpha_bar) * 0.5**2).mean().item()
    noisy, timesteps = diffusion(torch.full([40000, 1, 2, 2], 0.8))
    assert noisy.square().mean().item() == pytest.approx(expected, rel=0.01)
    assert timesteps.eq(0).float().mean().item() == pytest.approx(16 / 64, abs=0.01)


@pytest.mark.parametrize("schedule", ["linear", "quad"])
def test_the_shortest_horizons_have_the_first_beta_and_then_the_last(
    schedule: BetaSchedule,
) -> None:
    for horizon, expected in ((1, [1e-3, 0, 0]), (2, [1e-3, 4e-2, 0])):
        betas = betas_over_horizon(schedule, torch.tensor(horizon), 3, 1e-3, 4e-2)
        torch.testing.assert_close(betas, torch.tensor(expected))


def test_the_list_is_drawn_as_the_configuration_says() -> None:
    torch.manual_seed(0)
    means = []
    for distribution in get_args(TimestepDistribution):
        config = DiffusionConfig(ts_dist=distribution, t_min=100, list_size=20000, num_clean=0)
        means.append(Diffusion(config).timestep_list.float().mean().item())
    assert means == pytest.approx([67, 50.5], abs=1)  # (2 T + 1) / 3 and (T + 1) / 2


def test_everything_stays_on_the_device_of_the_horizon() -> None:
    """Another default device, here one without memory, changes nothing."""
    diffusion, horizon = Diffusion(DiffusionConfig()), torch.tensor(20)
    with torch.device("meta"):
        made = [
            betas_over_horizon("linear", horizon, 30, 1e-4, 2e-2),
            sample_timesteps("priority", horizon, 30, 5),
            diffusion.draw_timesteps(1000),
        ]
    assert [tensor.device.type for tensor in made] == ["cpu"] * 3
    assert set(made[-1].tolist()) == set(diffusion.timestep_list.tolist())


def spread_evenly(count: int, device: torch.device | None = None) -> Tensor:
    """What stands for `torch.rand`: the middles of `count` equal parts of 0..1."""
    return (torch.arange(count, device=device, dtype=torch.float32) + 0.5) / count


@FEW
@given(st.integers(1, 60), st.integers(0, 40))
def test_even_draws_meet_each_timestep_as_often_as_it_weighs(horizon: int, room: int) -> None:
    """The inverse transform, without chance: P(t) is exactly t / ΣT, or 1 / T."""
    t = torch.arange(1, horizon + 1)
    for distribution, weights in (("priority", t), ("uniform", torch.ones_like(t))):
        total = int(weights.sum())
        with patch("training.diffusion.torch.rand", spread_evenly):
            drawn = sample_timesteps(
                distribution,  # type: ignore[arg-type]
                torch.tensor(horizon),
                horizon + room,
                total * 3,
            )
        assert torch.equal(torch.bincount(drawn, minlength=horizon + 1)[1:], weights * 3)


def test_a_draw_on_the_edge_of_two_timesteps_is_the_later_one() -> None:
    edges = torch.tensor([0, 0.25, 0.5, 0.75])
    with patch("training.diffusion.torch.rand", lambda *_, **__: edges):
        assert sample_timesteps("uniform", torch.tensor(4), 9, 4).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("horizon", [1, 17, 4999, 5000])
def test_the_ends_of_the_unit_interval_are_the_first_and_the_last_timestep(horizon: int) -> None:
    """Just below one, float32 rounds u ΣT up to ΣT, beyond the last weight."""
    for distribution in get_args(TimestepDistribution):
        with patch("training.diffusion.torch.rand", lambda *_, **__: torch.tensor([0, 1 - 2**-24])):
            drawn = sample_timesteps(distribution, torch.tensor(horizon), 5000, 2)
        assert drawn.tolist() == [1, horizon]


@FEW
@given(
    st.integers(1, 100), st.integers(0, 900), st.lists(st.floats(0, 2), min_size=1), st.floats(0, 1)
)
def test_a_ramp_only_rises_between_its_bounds(
    t_min: int, extent: int, progress: list[float], end: float
) -> None:
    schedule = make_horizon(RampConfig(end=end), t_min, t_min + extent)
    assert isinstance(schedule, RampHorizon) and schedule.observations() == []
    moved = [int(schedule.advance(64, x)) for x in sorted(progress)]
    assert all(a <= b for a, b in pairwise([t_min, *moved, t_min + extent]))
    assert int(schedule.advance(64, 1.0)) == pytest.approx(t_min + end * extent, abs=0.5001)


@FEW
@given(
    st.lists(st.tuples(st.sampled_from([-2.0, 0.0, 0.5]), st.integers(1, 400)), max_size=12),
    st.floats(-1, 1),
)
def test_an_adaptive_horizon_stays_between_its_bounds_whatever_it_sees(
    seen: list[tuple[float, int]], target: float
) -> None:
    schedule = make_horizon(AdaptiveConfig(target=target, ada_kimg=1), 10, 110)
    assert isinstance(schedule, AdaptiveHorizon)
    p = 0.0
    for logit, num_images in seen:
        schedule.observe(torch.full([3, 1], logit))
        horizon = schedule.advance(num_images, 0.0)
        r = (logit > 0) - (logit < 0)
        if abs(r - target) > 1e-6:
            p = min(max(p + math.copysign(num_images / 1000, r - target), 0), 1)
            assert int(horizon) == pytest.approx(10 + 100 * p, abs=0.51)
        p = schedule.p.item()
        assert 10 <= int(horizon) <= 110 and horizon.dtype == torch.int64


@FEW
@given(st.floats(0, 1), st.integers(1, 500), st.integers(0, 500))
def test_horizon_is_the_nearest_whole_number(p: float, t_min: int, extent: int) -> None:
    horizon = horizon_at(torch.tensor(p), t_min, t_min + extent)
    assert horizon.dtype == torch.int64 and horizon.shape == ()
    assert abs(int(horizon) - (t_min + p * extent)) <= 0.5 + 1e-3
