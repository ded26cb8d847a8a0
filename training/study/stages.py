"""Where the noise of D and C stands at the start, the middle and the end of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dnnlib import UserError
from training.augment import AdaConfig
from training.config import TrainingConfig
from training.diffusion import DiffusionConfig
from training.local_noise import GaussianConfig, LocalNoiseConfig
from training.schedules import AdaptiveConfig, RampConfig, horizon_at
from training.study.history import STATS_FILE, History

NAMES = ("start", "middle", "end")
SHARES = (0.0, 0.5, 1.0)
NoiseConfig = DiffusionConfig | LocalNoiseConfig | GaussianConfig


@dataclass(frozen=True)
class Stage:
    """A moment: T of each network that has one, the least and the largest standard deviation of
    local noise, and the probability of ADA (None: not used).
    """

    name: str
    horizons: dict[str, int]
    local_sd: tuple[float, float] | None
    p_augment: float | None


def noisy_networks(config: TrainingConfig) -> dict[str, NoiseConfig]:
    """The noise of those of D and C that see any, by name."""
    each = {"D": config.diffusion_d, "C": config.diffusion_c}
    return {name: noise for name, noise in each.items() if noise is not None}


def diffusions(config: TrainingConfig) -> dict[str, DiffusionConfig]:
    """Those of them that have timesteps."""
    networks = noisy_networks(config)
    return {name: each for name, each in networks.items() if isinstance(each, DiffusionConfig)}


def planned_stages(config: TrainingConfig) -> list[Stage]:
    """The whole way of p, and of ADA to its limit; the start alone where no plan moves anything.

    Local noise is as it begins. An adaptive T depends on how the game goes: it may stop short of
    the end, or turn back.
    """
    ends = {"D": _last_p(config.horizon_d), "C": _last_p(config.horizon_c)}
    limit = config.augment.max_p if isinstance(config.augment, AdaConfig) else None
    noise = config.diffusion_d
    local = (noise.local_sd,) * 2 if isinstance(noise, LocalNoiseConfig) else None
    stages = []
    for name, share in zip(NAMES, SHARES, strict=True):
        horizons = {
            network: int(horizon_at(torch.tensor(share * ends[network]), each.t_min, each.t_max))
            for network, each in diffusions(config).items()
        }
        stages.append(Stage(name, horizons, local, None if limit is None else share * limit))
    return stages if diffusions(config) or limit is not None else stages[:1]


def recorded_stages(config: TrainingConfig, history: History) -> list[Stage]:
    """The first, the middle and the last tick of a run."""
    stages = []
    for share in SHARES:
        p = history.at(share, "p_augment")
        horizons = {
            network: int(_recorded(history, share, f"T_{network}"))
            for network in diffusions(config)
        }
        local = None
        if isinstance(config.diffusion_d, LocalNoiseConfig):
            least = _recorded(history, share, "local_sd_min_D")
            local = least, _recorded(history, share, "local_sd_max_D")
        name = f"{round(history.at(share, 'kimg'), 1):g} kimg"
        stages.append(Stage(name, horizons, local, None if math.isnan(p) else p))
    return stages


def _last_p(horizon: AdaptiveConfig | RampConfig) -> float:
    return horizon.end if isinstance(horizon, RampConfig) else 1.0


def _recorded(history: History, share: float, name: str) -> float:
    value = history.at(share, name)
    if math.isnan(value):
        raise UserError(f"--run: {STATS_FILE} does not tell {name}; draw its --data alone")
    return value
