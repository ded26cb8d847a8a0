"""The charts of a study: what each shows, on which axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from training.diffusion import BetaSchedule, DiffusionConfig, TimestepDistribution
from training.networks.timesteps import TimestepEmbeddingKind
from training.study.drawing import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILLION,
    Chart,
)
from training.study.quantities import (
    alphas_bar,
    diffusion_at,
    label_share,
    sample_timesteps_of_images,
    signal_to_noise,
    timestep_law,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {"D": BLUE, "C": VERMILLION}
_FAMILY = (
    (BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (VERMILLION, ":"), (PURPLE, "-"), (BLACK, "--"),
)  # fmt: skip
_LEAST_SNR = 1e-3  # below, nothing of an image is left to see
_NUM_BINS = 20
_NUM_LISTS, _PER_LIST = 500, 64  # of the drawn sample: a step of 64 images each


@dataclass(frozen=True)
class Curve:
    """The noise of one schedule over one horizon."""

    label: str
    config: DiffusionConfig
    horizon: int


def horizons_chart(networks: dict[str, DiffusionConfig]) -> Chart:
    """ᾱ and the signal-to-noise ratio against t for four horizons of each network."""
    families = {
        f"{name}: {config.beta_schedule}, σ = {config.noise_sd:g}": [
            Curve(f"T = {horizon}", config, horizon) for horizon in spread_horizons(config)
        ]
        for name, config in networks.items()
    }
    return Chart("horizons", 5.0, partial(_draw_noise, families=families, scale="log"))


def schedules_chart(networks: dict[str, DiffusionConfig]) -> Chart:
    """The same for every kind of schedule, over the last horizon of each network."""
    families = {
        f"{name}: T = {config.t_max}, σ = {config.noise_sd:g}": [
            Curve(kind, config.model_copy(update={"beta_schedule": kind}), config.t_max)
            for kind in get_args(BetaSchedule)
        ]
        for name, config in networks.items()
    }
    return Chart("schedules", 5.0, partial(_draw_noise, families=families, scale="linear"))


def timesteps_chart(networks: dict[str, DiffusionConfig], horizons: dict[str, int]) -> Chart:
    """How often each timestep is drawn at `horizons`: the exact law, a sample, and one list."""
    return Chart("timesteps", 3.4, partial(_draw_timesteps, networks=networks, horizons=horizons))


def condition_chart(kind: TimestepEmbeddingKind, t_max: int) -> Chart:
    """The label's share of D's condition against t, for every kind of timestep embedding."""
    return Chart("condition", 3.0, partial(_draw_condition, kind=kind, t_max=t_max))


def spread_horizons(config: DiffusionConfig, count: int = 4) -> list[int]:
    """Up to `count` different horizons from t_min to t_max, at equal ratios."""
    ratio = config.t_max / config.t_min
    return sorted({round(config.t_min * ratio ** (k / (count - 1))) for k in range(count)})


def per_timestep(timesteps: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
    """Edges of bins `[B + 1]` over 1..T, and the share of `timesteps` at each t of a bin `[B]`.

    Bins are of the same whole width but for the last, which may be narrower.
    """
    width = -(-horizon // _NUM_BINS)
    edges = torch.tensor([*range(1, horizon + 1, width), horizon + 1])
    counts = torch.bincount(timesteps, minlength=horizon + 1)[1:]
    cumulated = torch.cat([torch.zeros(1), counts.cumsum(dim=0)])
    inside = cumulated[edges - 1].diff()
    return edges - 0.5, inside / edges.diff() / len(timesteps)


def _draw_noise(figure: Figure, families: dict[str, list[Curve]], scale: str) -> None:
    axes = figure.subplots(2, len(families), sharex="col", sharey="row", squeeze=False)
    for column, (title, curves) in enumerate(families.items()):
        signal, ratio = axes[:, column]
        for curve, (color, line) in zip(curves, _FAMILY, strict=False):
            noise = alphas_bar(curve.config, curve.horizon)
            snr = signal_to_noise(noise, curve.config.noise_sd)
            t = range(1, curve.horizon + 1)
            signal.plot(t, noise[1:], color=color, linestyle=line, label=curve.label)
            visible = snr[1:].masked_fill((snr[1:] < _LEAST_SNR) | snr[1:].isinf(), torch.nan)
            ratio.plot(t, visible, color=color, linestyle=line)
        signal.set_title(title)
        signal.set_xscale(scale)
        if scale == "log":
            signal.legend(loc="lower left")
        elif column == 0:  # the same kinds in every column
            signal.legend(loc="upper right", ncols=2)
        ratio.set(yscale="log", xlabel="timestep t")
    if all(curve.config.noise_sd == 0 for curves in families.values() for curve in curves):
        axes[1, 0].set_ylim(_LEAST_SNR, 1)  # every ratio is infinite
    axes[0, 0].set_ylabel("ᾱ (power of the image)")
    axes[1, 0].set_ylabel("signal-to-noise ratio")
    _add_distances(axes[1, -1])


def _add_distances(axes: Axes) -> None:
    """A second scale beside the signal-to-noise ratio: the distance that the noise hides."""

    def power(exponent: float) -> Callable[[ArrayLike], NDArray[np.float64]]:
        return lambda values: np.maximum(np.asarray(values, dtype=np.float64), 1e-12) ** exponent

    # SNR = distance ** -2, see `hidden_distance`.
    axes.secondary_yaxis("right", functions=(power(-0.5), power(-2))).set_ylabel("hidden distance")


def _draw_timesteps(
    figure: Figure, networks: dict[str, DiffusionConfig], horizons: dict[str, int]
) -> None:
    axes = figure.subplots(1, len(networks), squeeze=False)[0]
    for each, (name, config) in zip(axes, networks.items(), strict=True):
        horizon = horizons[name]
        _draw_laws(each, config, horizon)
        sample = sample_timesteps_of_images(config, horizon, _NUM_LISTS, _PER_LIST)
        edges, shares = per_timestep(sample, horizon)
        each.stairs(
            shares * 100, edges, fill=True, color=COLORS[name], alpha=0.35,
            label=f"{len(sample)} draws from {_NUM_LISTS} lists",
        )  # fmt: skip
        noisy = diffusion_at(config, horizon).timestep_list[config.num_clean :]
        each.plot(
            noisy, torch.full(noisy.shape, 0.03), "|", color=BLACK, markersize=12,
            transform=each.get_xaxis_transform(),
            label=f"one list: {len(noisy)} of {config.list_size} are noisy",
        )  # fmt: skip
        clean = float((sample == 0).double().mean())
        exact = config.num_clean / config.list_size
        each.set_title(f"{name}, T = {horizon}: {exact:.1%} clean (drawn: {clean:.1%})")
        each.set(xlabel="timestep t", ylim=(0, None))
        each.xaxis.get_major_locator().set_params(integer=True)
        each.legend(loc="upper left")
    axes[0].set_ylabel("probability of each t ≥ 1 (%)")


def _draw_laws(axes: Axes, config: DiffusionConfig, horizon: int) -> None:
    for kind, line in zip(get_args(TimestepDistribution), ("-", "--"), strict=True):
        law = timestep_law(config.model_copy(update={"ts_dist": kind}), horizon)
        used = kind == config.ts_dist
        axes.plot(
            range(1, horizon + 1), law[1:] * 100, BLACK, linestyle=line,
            linewidth=2.2 if used else 1.2, label=kind + (" (used)" if used else ""),
        )  # fmt: skip


def _draw_condition(figure: Figure, kind: TimestepEmbeddingKind, t_max: int) -> None:
    axes = figure.subplots()
    for each, (color, line) in zip(get_args(TimestepEmbeddingKind), _FAMILY, strict=False):
        label = each + (" (used)" if each == kind else "")
        axes.plot(label_share(each, t_max), color=color, linestyle=line, label=label)
    axes.set(yscale="log", xlabel="timestep t", ylabel="label's share of D's condition")
    axes.legend(loc="center right")
