"""Charts as pictures, in one style."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from dnnlib import UserError
from training.data.images import Pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, DPI = 10.0, 120  # inches, pixels an inch: 1200 pixels, legible at two thirds of that
# Okabe and Ito's colours, which tell apart for colour-blind eyes; black stands for none of these.
BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000",
)  # fmt: skip
STYLE: dict[str, object] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "figure.titlesize": 13,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class Chart:
    """A drawing called `name`, `height` inches high."""

    name: str
    height: float
    draw: Callable[[Figure], None]


def render(chart: Chart) -> Pixels:
    """A chart as a picture, uint8 `[H, 1200, 3]`. Raises `UserError` without matplotlib."""
    matplotlib = _import("matplotlib")
    with matplotlib.rc_context(STYLE):
        figure: Figure = _import("matplotlib.figure").Figure(
            figsize=(WIDTH, chart.height), dpi=DPI, layout="constrained"
        )
        chart.draw(figure)
        canvas = _import("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
        canvas.draw()
        pixels: Pixels = np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
    return pixels


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise UserError(
            "charts are drawn by the package matplotlib, which is not there; install it: "
            "pip install matplotlib"
        ) from None
