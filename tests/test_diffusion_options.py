"""Options of dual diffusion: D and C apart, and what is said about wrong ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from training_helpers import small_config, small_trainer

from dnnlib import UserError
from training.config import TrainingConfig
from training.diffusion import DiffusionConfig
from training.networks.discriminator import DiscriminatorConfig
from training.networks.generator import GeneratorConfig
from training.schedules import AdaptiveConfig, AdaptiveHorizon, RampConfig, RampHorizon
from training.views import DiffusedView


def diffusions(**given: Any) -> tuple[DiffusionConfig, DiffusionConfig]:
    """Those of D and of C."""
    config = small_config(**given)
    assert isinstance(config.diffusion_d, DiffusionConfig)
    assert isinstance(config.diffusion_c, DiffusionConfig)
    return config.diffusion_d, config.diffusion_c


# An option, what it is for D, and what C has then unless it is told otherwise.
SHARED: dict[str, tuple[Any, Any]] = {
    "beta_schedule": ("quad", "cosine"),
    "beta_start": (2e-4, 3e-4),
    "beta_end": (0.03, 0.04),
    "t_min": (7, 9),
    "ts_dist": ("uniform", "priority"),
    "list_size": (80, 16),
}


@pytest.mark.parametrize("name", SHARED)
def test_an_option_is_for_both_until_c_has_its_own(name: str) -> None:
    both, own = SHARED[name]
    d, c = diffusions(**{name: both})
    assert getattr(d, name) == getattr(c, name) == both
    d, c = diffusions(**{name: both, f"{name}_c": own})
    assert (getattr(d, name), getattr(c, name)) == (both, own)
    d, c = diffusions(**{f"{name}_c": own})
    assert getattr(d, name) == getattr(DiffusionConfig(), name)
    assert getattr(c, name) == own


def test_strength_and_last_horizon_of_c_have_defaults_of_their_own() -> None:
    d, c = diffusions(noise_sd=0.4, noise_sd_c=None, t_max=500)
    assert (d.noise_sd, c.noise_sd) == (0.4, 0.2)
    assert (d.t_max, c.t_max) == (500, 300)


def test_half_of_the_list_is_clean_whatever_its_size() -> None:
    for given, expected in (
        ({}, (32, 32)),
        ({"list_size": 100}, (50, 50)),
        ({"list_size_c": 20}, (32, 10)),
        ({"num_clean": 16}, (16, 16)),
        ({"num_clean": 16, "list_size_c": 128}, (16, 32)),
        ({"num_clean_c": 0}, (32, 0)),
    ):
        d, c = diffusions(**given)
        assert (d.num_clean, c.num_clean) == expected, given


def test_either_network_can_do_without_noise_and_is_then_told_no_timestep() -> None:
    for given, d, c in (
        ({"noise_d": False}, False, True),
        ({"noise_c": False}, True, False),
        ({"noise_d": False, "noise_c": False}, False, False),
    ):
        trainer = small_trainer(small_config(**given))
        players = trainer.state.players
        assert (players.view_d is not None, players.view_c is not None) == (d, c)
        assert players.C is not None
        assert (players.D.embed_timesteps is not None) is d
        assert (players.C.embed_timesteps is not None) is c
        trainer.step()


def test_timesteps_can_be_told_differently_to_d_and_c() -> None:
    config = small_config(t_embed="fourier", t_embed_c="raw")
    assert config.classifier is not None
    assert (config.discriminator.t_embed, config.classifier.t_embed) == ("fourier", "raw")


def test_how_t_moves_can_be_exchanged() -> None:
    config = small_config(
        horizon_d="ramp", ramp_d=0.5, t_max=110, horizon_c="adaptive", target_c=-1.0,
        ada_kimg_c=0.064, t_max_c=110, kimg=0.064,
    )  # fmt: skip
    trainer = small_trainer(config)
    view_d, view_c = trainer.state.players.view_d, trainer.state.players.view_c
    assert isinstance(view_d, DiffusedView) and isinstance(view_c, DiffusedView)
    assert isinstance(view_d.schedule, RampHorizon)
    assert isinstance(view_c.schedule, AdaptiveHorizon)
    for _ in range(4):
        trainer.step()
    # Half of the run: D is at a quarter of its range; C has moved by 32 of 64 images.
    assert int(view_d.diffusion.horizon) == 10 + 25
    assert int(view_c.diffusion.horizon) == 10 + 50


def test_both_horizons_can_follow_d_each_with_its_own_target() -> None:
    trainer = small_trainer(
        small_config(horizon_c="adaptive", target=1.0, target_c=-1.0, ada_kimg=0.1)
    )
    view_d, view_c = trainer.state.players.view_d, trainer.state.players.view_c
    assert isinstance(view_d, DiffusedView) and isinstance(view_c, DiffusedView)
    for _ in range(4):
        trainer.step()
    assert view_d.schedule.p == 0
    assert view_c.schedule.p == pytest.approx(0.32)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"t_min": 50, "t_max": 20}, "--t-max must be at least t_min"),
        ({"t_max_c": 5}, r"--t-max-c must be at least t_min \(10\)"),
        ({"t_min_c": 301}, r"--t-max-c must be at least t_min \(301\)"),
        ({"num_clean": 65}, r"--num-clean must be at most list_size \(64\)"),
        ({"num_clean_c": 30, "list_size_c": 20}, r"--num-clean-c must be at most list_size \(20\)"),
        ({"list_size_c": 0}, "--list-size-c: .* found 0"),
        ({"beta_end": 1.5}, "--beta-end: .* found 1.5"),
        ({"beta_start_c": -1.0}, "--beta-start-c: .* found -1.0"),
        ({"beta_schedule_c": "cubic"}, "--beta-schedule-c: .* found 'cubic'"),
        ({"noise_sd_c": -0.5}, "--noise-sd-c: .* found -0.5"),
        ({"target_c": 2.0}, "--target-c: .* found 2.0"),
        ({"ada_kimg": 0.0}, "--ada-kimg: .* found 0.0"),
        ({"ramp_c": 1.5}, "--ramp-c: .* found 1.5"),
        ({"horizon_d": "linear"}, "--horizon-d: .* found 'linear'"),
        ({"local_sd": 0.7}, r"--local-sd must be below local_sd_max \(0.5\)"),
        ({"lambda_local": -1.0}, "--lambda-local: .* found -1.0"),
    ],
)
def test_wrong_options_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        small_config(**given)


def test_configs_can_be_made_of_parts_in_python() -> None:
    """What options cannot say: other noise for C than D's model has, for one."""
    saved = small_config(noise_model="local").model_dump()
    parts = {
        "diffusion_c": DiffusionConfig(t_max=50),
        "horizon_c": RampConfig(end=0.3),
        "horizon_d": AdaptiveConfig(target=0.2),
    }
    config = TrainingConfig.model_validate(saved | parts)
    trainer = small_trainer(config)
    trainer.step()
    assert trainer.state.players.learned_noise is not None
    assert isinstance(trainer.state.players.view_c, DiffusedView)
    assert TrainingConfig.from_json(config.to_json(), "config") == config


def test_files_from_before_there_were_kinds_are_read() -> None:
    config = small_config()
    saved = json.loads(config.to_json())
    for part in ("generator", "discriminator", "classifier", "diffusion_d", "diffusion_c"):
        assert saved[part].pop("kind")
    for part in ("horizon_d", "horizon_c"):
        assert saved[part].pop("kind")
    del saved["noise_at"]
    loaded = TrainingConfig.from_json(json.dumps(saved), "old")
    assert loaded == config
    assert isinstance(loaded.generator, GeneratorConfig)
    assert isinstance(loaded.discriminator, DiscriminatorConfig)
    assert isinstance(loaded.horizon_c, RampConfig)


def test_an_unknown_kind_is_named() -> None:
    saved = json.loads(small_config().to_json())
    saved["generator"]["kind"] = "diffusion-transformer"
    with pytest.raises(UserError, match=r"net\.json: generator: .*'diffusion-transformer'"):
        TrainingConfig.from_json(json.dumps(saved), "net.json")
