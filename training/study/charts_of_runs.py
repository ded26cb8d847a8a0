"""Charts of what a network sees, and of how a run went."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from training.data.images import Pixels, to_pillow
from training.study.charts import COLORS
from training.study.drawing import BLACK, GREEN, Chart
from training.study.history import SIGNS, History
from training.study.stages import Stage
from training.study.views import COLUMNS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TIMESTEPS = ("0", "T/6", "T/3", "T/2", "2T/3", "5T/6", "T")
_CLASSES = ("clean", "least", "", "noise of classes", "", "", "most")
_ALWAYS = ("clean", "", "", "noise", "", "", "")
_CELL, _MARGIN = 0.61, 0.8  # inches


@dataclass(frozen=True)
class Line:
    """A value of `stats.jsonl`."""

    label: str
    name: str
    color: str


@dataclass(frozen=True)
class Panel:
    """Values that share their axes."""

    title: str
    lines: tuple[Line, ...]
    limits: tuple[float, float | None]

    def told_by(self, history: History) -> Panel:
        """This with those lines alone that `history` has."""
        lines = tuple(line for line in self.lines if history.has(line.name))
        return Panel(self.title, lines, self.limits)


_D, _C = COLORS["D"], COLORS["C"]
_SIGNS = Panel("r, mean sign of D(real)", (Line("r", SIGNS, _D),), (-1.02, 1.02))
_PANELS = (
    Panel("horizon T", (Line("D", "T_D", _D), Line("C", "T_C", _C)), (0, None)),
    Panel(
        "local noise, σ of classes",
        (
            Line("most", "local_sd_max_D", _C),
            Line("mean", "local_sd_mean_D", BLACK),
            Line("least", "local_sd_min_D", _D),
        ),
        (0, None),
    ),
    _SIGNS,
    Panel(
        "p",
        (Line("D", "p_D", _D), Line("C", "p_C", _C), Line("ADA", "p_augment", GREEN)),
        (-0.02, 1.02),
    ),
)


def sees_chart(sheets: dict[str, Pixels], stages: list[Stage]) -> Chart:
    """Images as D and C see them, side by side; `sheets` as `noisy_sheet` makes them, by name."""
    height, width = next(iter(sheets.values())).shape[:2]
    return Chart(
        "sees",
        _CELL * COLUMNS * height / width + _MARGIN,
        partial(_draw_sheets, sheets=sheets, stages=stages),
    )


def path_chart(history: History, target: float | None) -> Chart:
    """T and p, r, and the deviations of local noise against the images seen.

    `target`: r that an adaptive T is steered to, None where none is adaptive.
    """
    return Chart("path", 3.2, partial(_draw_path, history=history, target=target))


def _draw_sheets(figure: Figure, sheets: dict[str, Pixels], stages: list[Stage]) -> None:
    axes = figure.subplots(1, len(sheets), squeeze=False)[0]
    for each, (name, pixels) in zip(axes, sheets.items(), strict=True):
        each.imshow(np.asarray(to_pillow(pixels).convert("RGBA")), interpolation="nearest")
        height, width = pixels.shape[:2]
        each.set_xticks(_centres(width, COLUMNS), _strengths(stages[0], name))
        each.set_yticks(_centres(height, len(stages)), [_caption(stage, name) for stage in stages])
        each.tick_params(length=0)
        each.spines[:].set_visible(False)
        each.grid(False)
        for stage in range(1, len(stages)):
            each.axhline(height * stage / len(stages) - 0.5, color="white", linewidth=4)
        each.set(title=f"What {name} sees")
        if name in stages[0].horizons:
            each.set_xlabel("timestep t")


def _centres(size: int, count: int) -> list[float]:
    return [(index + 0.5) * size / count - 0.5 for index in range(count)]


def _strengths(stage: Stage, network: str) -> tuple[str, ...]:
    """What stands below the columns of a sheet."""
    if network in stage.horizons:
        return _TIMESTEPS
    return _ALWAYS if network == "C" or stage.local_sd is None else _CLASSES


def _caption(stage: Stage, network: str) -> str:
    lines = [stage.name]
    if network in stage.horizons:
        lines.append(f"T = {stage.horizons[network]}")
    elif network == "D" and stage.local_sd is not None:
        lines.append("σ {:.2g} to {:.2g}".format(*stage.local_sd))
    if stage.p_augment is not None:
        lines.append(f"ADA {stage.p_augment:.2f}")
    return "\n".join(lines)


def _draw_path(figure: Figure, history: History, target: float | None) -> None:
    told = [panel.told_by(history) for panel in _PANELS]
    panels = [panel for panel in told if panel.lines]
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for line in panel.lines:
            values = history.series(line.name)
            axes.plot(history.kimg, values, color=line.color, label=line.label, marker=".")
        if panel.title == _SIGNS.title and target is not None:
            label = f"target {target:g}"
            axes.axhline(target, color=BLACK, linestyle="--", linewidth=1.2, label=label)
        axes.set(title=panel.title, xlabel="images seen (thousands)", ylim=panel.limits)
        axes.legend()
