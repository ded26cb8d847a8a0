"""Options of dual diffusion and of local noise, those of D and of C apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from dnnlib import Config
from dnnlib.config import naming_options
from training.config import LocalFrom, NoisePlace
from training.diffusion import BetaSchedule, DiffusionConfig, TimestepDistribution
from training.local_noise import GaussianConfig, LocalNoiseConfig
from training.networks.timesteps import TimestepEmbeddingKind
from training.schedules import AdaptiveConfig, RampConfig

NoiseModel = Literal["global", "local", "none"]
HorizonKind = Literal["adaptive", "ramp"]
_AS_D = "[as D's]"


class NoiseOptions(Config):
    """The knobs of `training.diffusion`, `training.local_noise` and `training.schedules`.

    Every field of `DiffusionConfig` and of `AdaptiveConfig` has its option, which is D's, and one
    that ends in `_c`: C's, where it differs. `noise_configs` makes the configs of them.
    """

    noise_model: NoiseModel = Field(
        "global", description="Noise that D and C see: diffusion, or learned per class. [global]"
    )
    noise_d: bool = Field(True, description="Noise for D. [yes]")
    noise_c: bool = Field(True, description="Noise for C. [yes]")
    noise_at: NoisePlace = Field(
        "images", description="Noise in images, or in features of the first layer. [images]"
    )
    noise_sd: float = Field(0.05, description="σ of D's noise, images being ±1. [0.05]")
    noise_sd_c: float | None = Field(
        None, description="σ of C's noise. [half of --noise-sd; the same with local noise]"
    )
    # How β grows over the steps of a horizon.
    beta_schedule: BetaSchedule = Field("linear", description="How β grows with t. [linear]")
    beta_schedule_c: BetaSchedule | None = Field(None, description=f"The same for C. {_AS_D}")
    beta_start: float = Field(1e-4, description="First β. [0.0001]")
    beta_start_c: float | None = Field(None, description=f"First β of C. {_AS_D}")
    beta_end: float = Field(2e-2, description="Last β. [0.02]")
    beta_end_c: float | None = Field(None, description=f"Last β of C. {_AS_D}")
    # How far T goes, and how timesteps up to T are drawn.
    t_min: int = Field(10, description="First horizon T of D and of C. [10]")
    t_min_c: int | None = Field(None, description=f"First horizon T of C. {_AS_D}")
    t_max: int = Field(1000, description="Last horizon T of D. [1000]")
    t_max_c: int = Field(300, description="Last horizon T of C. [300]")
    ts_dist: TimestepDistribution = Field(
        "priority", description="Timesteps in proportion to t, or uniform. [priority]"
    )
    ts_dist_c: TimestepDistribution | None = Field(None, description=f"The same for C. {_AS_D}")
    list_size: int = Field(64, description="Timesteps that are drawn for each T. [64]")
    list_size_c: int | None = Field(None, description=f"The same for C. {_AS_D}")
    num_clean: int | None = Field(
        None, description="How many of them are 0: clean images. [half of --list-size]"
    )
    num_clean_c: int | None = Field(None, description="The same for C. [D's share]")
    t_embed: TimestepEmbeddingKind = Field(
        "fourier", description="How D and C are told the timestep. [fourier]"
    )
    t_embed_c: TimestepEmbeddingKind | None = Field(
        None, description=f"How C is told the timestep. {_AS_D}"
    )
    # How T moves.
    horizon_d: HorizonKind = Field(
        "adaptive", description="D's T follows D on real images, or kimg. [adaptive]"
    )
    horizon_c: HorizonKind = Field("ramp", description="The same for C's T. [ramp]")
    target: float = Field(
        0.6, description="Mean sign of D(real) that adaptive T and ADA's p are steered to. [0.6]"
    )
    target_c: float | None = Field(None, description=f"The same for an adaptive T of C. {_AS_D}")
    ada_kimg: float = Field(
        100.0, description="kimg in which an adaptive T can cross its range. [100]"
    )
    ada_kimg_c: float | None = Field(None, description=f"The same for C. {_AS_D}")
    ramp_d: float = Field(
        1.0, ge=0, le=1, description="Share of D's range at the end of the run, with a ramp. [1]"
    )
    ramp_c: float = Field(
        1.0, ge=0, le=1, description="Share of C's range at the end of the run, with a ramp. [1]"
    )
    # The second noise model.
    local_sd: float = Field(
        0.05, description="Standard deviation of local noise to begin with. [0.05]"
    )
    local_sd_max: float = Field(0.5, description="What learned deviations stay below. [0.5]")
    local_from: LocalFrom = Field(
        "both", description="Images whose logits move them: fakes alone, or reals too. [both]"
    )
    lambda_local: float = Field(
        0.01, ge=0, description="Weight of the mean of their squares in G's loss. [0.01]"
    )
    lr_local: float = Field(0.0025, gt=0, description="Their learning rate. [0.0025]")


@dataclass(frozen=True)
class NoiseConfigs:
    """What D and C see (None: clean images), and how T moves where there is one."""

    d: DiffusionConfig | LocalNoiseConfig | GaussianConfig | None
    c: DiffusionConfig | GaussianConfig | None
    horizon_d: AdaptiveConfig | RampConfig
    horizon_c: AdaptiveConfig | RampConfig


def noise_configs(options: NoiseOptions, has_classifier: bool) -> NoiseConfigs:
    """What options come to; without a classifier its horizons need not fit D's.

    Raises `UserError` naming the option that breaks a rule.
    """
    with naming_options():
        d = DiffusionConfig(**_diffusion_d(options))
        local = LocalNoiseConfig(
            noise_sd=options.noise_sd,
            local_sd=options.local_sd,
            local_sd_max=options.local_sd_max,
        )
        adaptive_d = AdaptiveConfig(target=options.target, ada_kimg=options.ada_kimg)
    with naming_options("_c"):
        c = DiffusionConfig(**_diffusion_c(options)) if has_classifier else None
        alone = GaussianConfig(noise_sd=_first(options.noise_sd_c, options.noise_sd))
        adaptive_c = AdaptiveConfig(
            target=_first(options.target_c, options.target),
            ada_kimg=_first(options.ada_kimg_c, options.ada_kimg),
        )
    is_global = options.noise_model == "global"
    sees_d = options.noise_d and options.noise_model != "none"
    sees_c = has_classifier and options.noise_c and options.noise_model != "none"
    return NoiseConfigs(
        d=(d if is_global else local) if sees_d else None,
        c=(c if is_global else alone) if sees_c else None,
        horizon_d=adaptive_d if options.horizon_d == "adaptive" else RampConfig(end=options.ramp_d),
        horizon_c=adaptive_c if options.horizon_c == "adaptive" else RampConfig(end=options.ramp_c),
    )


def _diffusion_d(options: NoiseOptions) -> dict[str, Any]:
    values = {
        name: getattr(options, name) for name in DiffusionConfig.model_fields.keys() - {"kind"}
    }
    return values | {"num_clean": _first(options.num_clean, options.list_size // 2)}


def _diffusion_c(options: NoiseOptions) -> dict[str, Any]:
    d = _diffusion_d(options)
    own = {name: getattr(options, f"{name}_c") for name in d}
    values = {name: _first(own[name], d[name]) for name in d}
    share = d["num_clean"] / max(d["list_size"], 1)
    return values | {
        "noise_sd": _first(options.noise_sd_c, options.noise_sd / 2),
        "num_clean": _first(options.num_clean_c, round(share * values["list_size"])),
    }


def _first(own: Any, otherwise: Any) -> Any:
    return otherwise if own is None else own
