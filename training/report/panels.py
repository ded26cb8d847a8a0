"""Which charts a run has: its losses, noise, scores and whatever else it told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.config import TrainingConfig
from training.report.chart import Color, Curve, Panel
from training.report.records import Score
from training.schedules import AdaptiveConfig
from training.study.history import SIGNS, History

_LIMITS = tuple[float | None, float | None]
_SHARE: _LIMITS = (0.0, 1.0)
_UPWARDS: _LIMITS = (0.0, None)
_COLORS: tuple[Color, ...] = ("purple", "orange", "sky", "green", "blue", "vermillion")
_NO_CURVES = ("kimg", "step", "Timing/seconds")
_ONLY_WHERE_NOT_ZERO = ("Gradients/replaced",)


@dataclass(frozen=True)
class _Line:
    """A value of `stats.jsonl`."""

    name: str
    label: str
    color: Color


@dataclass(frozen=True)
class _Plan:
    """A panel of values of `stats.jsonl`."""

    title: str
    lines: tuple[_Line, ...]
    limits: _LIMITS = (None, None)
    may_be_log: bool = False


def _players(
    title: str, name: str, players: str, limits: _LIMITS = (None, None), may_be_log: bool = False
) -> _Plan:
    """A quantity of one or more players; `{}` of `name` stands for the player."""
    colors: dict[str, Color] = {"G": "green", "D": "blue", "C": "vermillion"}
    lines = tuple(_Line(name.format(player), player, colors[player]) for player in players)
    return _Plan(title, lines, limits, may_be_log)


_PLANS = (
    _players("Adversarial loss", "Loss/{}/adversarial", "GD"),
    _players("Contrastive loss", "Loss/{}/contrastive", "GC"),
    _players("Class loss", "Loss/{}/label", "GC"),
    _players("R1 penalty", "Loss/{}/r1", "D", may_be_log=True),
    _players("Path length", "Loss/{}/path_length", "G", may_be_log=True),
    _players("Penalty of local noise", "Loss/{}/local", "G", may_be_log=True),
    _players("Horizon T", "T_{}", "DC", _UPWARDS),
    _Plan(
        "p of noise and of augmentation",
        (
            _Line("p_D", "D", "blue"),
            _Line("p_C", "C", "vermillion"),
            _Line("p_augment", "augmentation", "purple"),
        ),
        _SHARE,
    ),
    _Plan(
        "Local noise that D sees, σ of classes",
        (
            _Line("local_sd_max_D", "most", "orange"),
            _Line("local_sd_mean_D", "mean", "blue"),
            _Line("local_sd_min_D", "least", "sky"),
        ),
        _UPWARDS,
    ),
    _Plan(
        "Mean sign of D",
        (_Line(SIGNS, "real", "blue"), _Line("Signs/fake", "generated", "green")),
        (-1.0, 1.0),
    ),
    _players("Accuracy of C on real images", "Accuracy/{}/real", "C", _SHARE),
    _Plan("Seconds per kimg", (_Line("Timing/sec_per_kimg", "seconds", "purple"),), _UPWARDS),
    _Plan("Peak memory", (_Line("Resources/peak_memory_gib", "GiB", "purple"),), _UPWARDS),
)


def stats_panels(history: History, config: TrainingConfig) -> list[Panel]:
    """The charts of `stats.jsonl`: those above, then one for each other value that was told."""
    names = {name for record in history.records for name in record} - {*_NO_CURVES}
    names -= {name for name in _ONLY_WHERE_NOT_ZERO if not any(_told(history, name))}
    planned = {line.name for plan in _PLANS for line in plan.lines}
    rest = [_Plan(name, (_Line(name, "", "purple"),)) for name in sorted(names - planned)]
    panels = []
    for plan in (*_PLANS, *rest):
        lines = [line for line in plan.lines if line.name in names]
        if lines:
            curves = [Curve(line.label, line.color, history.series(line.name)) for line in lines]
            guide = _guide(config) if any(line.name == SIGNS for line in lines) else None
            panels.append(
                Panel(plan.title, history.kimg, tuple(curves), plan.limits, plan.may_be_log, guide)
            )
    return panels


def score_panels(scores: Sequence[Score]) -> list[Panel]:
    """A chart for each score; values of different origin are curves of their own, numbered so."""
    origins = score_origins(scores)
    names = list(dict.fromkeys(name for score in scores for name in score.values))
    panels = []
    for name in names:
        having = [score for score in scores if name in score.values]
        kimg = sorted({score.kimg for score in having})
        own = [origin for origin in origins if any(score.origin == origin for score in having)]
        curves = [
            Curve(
                f"[{origins.index(origin) + 1}]",
                _COLORS[index % len(_COLORS)],
                _values(having, origin, name, kimg),
            )
            for index, origin in enumerate(own)
        ]
        panels.append(Panel(name, kimg, tuple(curves), may_be_log=True))
    return panels


def score_origins(scores: Sequence[Score]) -> list[str]:
    """What scores depend on, once each, in the order in which the charts number them."""
    return list(dict.fromkeys(score.origin for score in scores))


def _values(scores: Sequence[Score], origin: str, name: str, kimg: Sequence[float]) -> list[float]:
    found = {score.kimg: score.values[name] for score in scores if score.origin == origin}
    return [found.get(int(at), math.nan) for at in kimg]


def _told(history: History, name: str) -> Iterator[float]:
    return (value for value in history.series(name) if math.isfinite(value))


def _guide(config: TrainingConfig) -> tuple[str, float] | None:
    """The mean sign that an adaptive T of D is steered to."""
    horizon = config.horizon_d
    if config.diffusion_d is None or not isinstance(horizon, AdaptiveConfig):
        return None
    return "target", horizon.target
