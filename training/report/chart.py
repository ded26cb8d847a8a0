"""Curves as SVG, with a legend that tells values; drawn here, so that it shows without scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from training.report.axis import Axis, kimg_text, number_text, robust_axis

Color = Literal["green", "blue", "vermillion", "purple", "orange", "sky"]

# Units of the SVG: its size, and the corners of the area with the curves.
_WIDTH, _HEIGHT = 340, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 328, 10, 164
_DOT = 2.5
_LETTER = 6.5  # width, about
_MOST_POINTS = 300
_DOTTED = 40  # up to so many points are dots, too


@dataclass(frozen=True)
class Curve:
    """A quantity: a value for each x of its panel, NaN where there is none."""

    label: str
    color: Color
    values: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes."""

    title: str
    kimg: Sequence[float]  # increasing
    curves: tuple[Curve, ...]
    limits: tuple[float | None, float | None] = (None, None)
    may_be_log: bool = False
    guide: tuple[str, float] | None = None  # a straight line: what it is, and where


@dataclass(frozen=True)
class _Points:
    """A curve with at most 300 points: mean, least and largest value of each stretch."""

    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class _Frame:
    """Where values lie in the SVG."""

    x: Axis
    y: Axis

    def place(self, kimg: float, value: float) -> tuple[float, float]:
        """What lies far outside is drawn near, where the area's edge cuts it off."""
        share = min(max(self.y.share(value), -1.0), 2.0)
        across = _LEFT + self.x.share(kimg) * (_RIGHT - _LEFT)
        return round(across, 1), round(_BOTTOM - share * (_BOTTOM - _TOP), 1)


def draw_panel(panel: Panel, until: float) -> str:
    """A panel from 0 to `until` kimg as an HTML figure. Every curve has a finite value or more."""
    stretch = ticks_per_point(len(panel.kimg))
    kimg = [_mean(part) for part in _parts(panel.kimg, stretch)]
    points = [_points(curve.values, stretch) for curve in panel.curves]
    drawn = [value for each in points for value in each.mean if math.isfinite(value)]
    if panel.guide is not None:
        drawn.append(panel.guide[1])
    y = robust_axis(drawn, panel.limits, panel.may_be_log)
    frame = _Frame(Axis(0.0, until if until > 0 else 1.0), y)
    lines = [
        _line(curve, each, kimg, frame) for curve, each in zip(panel.curves, points, strict=True)
    ]
    scale = " (logarithmic)" if frame.y.is_log else ""
    told = ", ".join(f"{curve.label} {_last(curve)}" for curve in panel.curves)
    label = f"{panel.title} against thousands of images; at the end {told}"
    return "\n".join(
        [
            '<figure class="chart">',
            f"<h3>{escape(panel.title)}{scale}</h3>",
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">',
            *_grid(frame),
            *_guide(panel, frame),
            *lines,
            f'<line class="cursor" y1="{_TOP}" y2="{_BOTTOM}" visibility="hidden"/>',
            "</svg>",
            _legend(panel),
            *_notes(points, frame),
            f'<script type="application/json">{_data(kimg, points, frame)}</script>',
            "</figure>",
        ]
    )


def ticks_per_point(count: int) -> int:
    """How many of `count` values a point of a curve is the mean of."""
    return math.ceil(count / _MOST_POINTS)


def _parts(values: Sequence[float], stretch: int) -> Iterator[Sequence[float]]:
    for start in range(0, len(values), stretch):
        yield values[start : start + stretch]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _points(values: Sequence[float], stretch: int) -> _Points:
    parts = [[v for v in part if math.isfinite(v)] for part in _parts(values, stretch)]
    return _Points(
        [_mean(part) for part in parts],
        [min(part, default=math.nan) for part in parts],
        [max(part, default=math.nan) for part in parts],
    )


def _line(curve: Curve, points: _Points, kimg: Sequence[float], frame: _Frame) -> str:
    """The band from least to largest, the line of the means, and dots where there are few."""
    there = [index for index, value in enumerate(points.mean) if math.isfinite(value)]
    mean = [frame.place(kimg[index], points.mean[index]) for index in there]
    upper = [frame.place(kimg[index], points.high[index]) for index in there]
    lower = [frame.place(kimg[index], points.low[index]) for index in there]
    shapes = []
    if upper != lower:
        shapes.append(f'<polygon points="{_path(upper + lower[::-1])}"/>')
    shapes.append(f'<polyline points="{_path(mean)}"/>')
    if len(mean) <= _DOTTED:
        shapes += [f'<circle cx="{x:g}" cy="{y:g}" r="{_DOT}"/>' for x, y in mean]
    x, y, width, height = (  # of the area with room for the dots on its edge
        _LEFT - _DOT,
        _TOP - _DOT,
        _RIGHT - _LEFT + 2 * _DOT,
        _BOTTOM - _TOP + 2 * _DOT,
    )
    area = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return (
        f'<svg {area} viewBox="{x} {y} {width} {height}" class="{curve.color}">'
        f"{''.join(shapes)}</svg>"
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _grid(frame: _Frame) -> Iterator[str]:
    for tick in frame.y.ticks():
        _, y = frame.place(frame.x.low, tick)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:g}" y2="{y:g}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:g}" text-anchor="end">{number_text(tick)}</text>'
    marks = [(frame.place(tick, frame.y.low)[0], tick) for tick in frame.x.ticks()]
    for x, _ in marks:
        yield f'<line class="grid" x1="{x:g}" x2="{x:g}" y1="{_BOTTOM}" y2="{_BOTTOM + 4}"/>'
    free = float(_WIDTH)  # from right to left, where words may end
    for x, tick in reversed(marks):
        text = number_text(tick, 6) + " kimg" * (tick == marks[-1][1])
        half = len(text) * _LETTER / 2
        middle = min(x, _WIDTH - half)
        if middle + half <= free:
            yield f'<text x="{middle:g}" y="{_BOTTOM + 18}" text-anchor="middle">{text}</text>'
            free = middle - half - _LETTER


def _guide(panel: Panel, frame: _Frame) -> Iterator[str]:
    if panel.guide is not None:
        _, y = frame.place(frame.x.low, panel.guide[1])
        yield f'<line class="guide" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:g}" y2="{y:g}"/>'
        yield (
            f'<text x="{_RIGHT}" y="{y - 4:g}" text-anchor="end">'
            f"{escape(panel.guide[0])} {number_text(panel.guide[1])}</text>"
        )


def _legend(panel: Panel) -> str:
    items = "".join(
        f'<li class="{curve.color}"><span>{escape(curve.label)}</span> <b>{_last(curve)}</b></li>'
        for curve in panel.curves
    )
    return f'<ul class="legend">{items}<li class="when">kimg {kimg_text(panel.kimg[-1])}</li></ul>'


def _last(curve: Curve) -> str:
    """The newest value."""
    return number_text(next(value for value in reversed(curve.values) if math.isfinite(value)))


def _notes(points: Sequence[_Points], frame: _Frame) -> Iterator[str]:
    outside = [
        value
        for each in points
        for value in each.mean
        if math.isfinite(value) and not -1e-9 <= frame.y.share(value) <= 1 + 1e-9
    ]
    if outside:
        farthest = max(outside, key=abs)
        yield f"<p>Outside the axis: {len(outside)} points, as far as {number_text(farthest)}.</p>"


def _data(kimg: Sequence[float], points: Sequence[_Points], frame: _Frame) -> str:
    """What the script needs to tell the values at a place."""
    return json.dumps(
        {
            "kimg": [_short(value) for value in kimg],
            "when": [kimg_text(value) for value in kimg],
            "values": [[_short(value) for value in each.mean] for each in points],
            "from": [_LEFT, frame.x.low],
            "to": [_RIGHT, frame.x.high],
        },
        separators=(",", ":"),
    )


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
