"""Axes, curves and which charts there are."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_helpers import score, tick, write_scores
from training_helpers import small_config

from training.report.axis import Axis, kimg_text, number_text, robust_axis
from training.report.chart import Curve, Panel, draw_panel
from training.report.panels import score_panels, stats_panels
from training.report.records import read_records
from training.study.history import History

NUMBERS = st.floats(-1e30, 1e30)


@given(st.lists(NUMBERS, min_size=1, max_size=60))
def test_an_axis_has_room_for_nine_tenths_and_its_ticks_are_on_it(values: list[float]) -> None:
    axis = robust_axis(values)
    assert axis.low < axis.high
    inside = [value for value in values if axis.low <= value <= axis.high]
    assert len(inside) >= 0.9 * len(values) - 1
    assert len(values) >= 8 or len(inside) == len(values)


@given(st.floats(-1e6, 1e6), st.floats(1e-2, 1e6))
def test_ticks_are_few_round_and_even(low: float, span: float) -> None:
    axis = Axis(low, low + span)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 8
    slack = 1e-6 * span
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
    step = ticks[1] - ticks[0]
    digit = step / 10 ** math.floor(math.log10(step * 1.000001))
    assert min(abs(digit - good) for good in (1, 2, 5)) < 1e-3


def test_an_outlier_does_not_flatten_a_curve() -> None:
    quiet = [1 + 0.1 * math.sin(step) for step in range(100)]
    assert robust_axis([*quiet, 1e6]).high < 2
    assert robust_axis([*quiet, -1e6, 1e6]).low > 0
    assert robust_axis([1.0, 2.0, 1e6]).high > 1e6  # few values: none is an outlier
    assert robust_axis([5.0]).low < 5 < robust_axis([5.0]).high


def test_limits_stay_and_only_positive_values_get_a_logarithmic_axis() -> None:
    axis = robust_axis([0.2, 0.3], limits=(0.0, 1.0))
    assert (axis.low, axis.high) == (0, 1)
    decay = [300 * 0.9**step for step in range(60)]
    assert robust_axis(decay, may_be_log=True).is_log
    assert not robust_axis(decay).is_log
    assert not robust_axis([*decay, 0.0], may_be_log=True).is_log
    assert not robust_axis([1.0, 2.0], may_be_log=True).is_log
    ticks = robust_axis(decay, may_be_log=True).ticks()
    assert all(
        any(math.isclose(t, d * 10.0**e) for d in (1, 2, 3, 5) for e in range(-2, 4)) for t in ticks
    )
    assert Axis(1, 100, is_log=True).share(10) == pytest.approx(0.5)


def test_numbers_read_well() -> None:
    numbers = [0.0, 1.0, 0.123456, 12345.6, -0.5, 1.5e-7, 31.0]
    assert list(map(number_text, numbers)) == [
        "0", "1", "0.1235", "12,350", "-0.5", "1.5e-07", "31",
    ]  # fmt: skip


def test_kimg_read_well() -> None:
    told = [kimg_text(kimg) for kimg in (0.0, 0.0321, 4.096, 15.008, 25000.0, 1234567.0)]
    assert told == ["0", "0.032", "4.096", "15", "25,000", "1,234,567"]


def svg_of(figure: str) -> ET.Element:
    return ET.fromstring(re.search(r"<svg.*</svg>", figure, flags=re.DOTALL)[0])  # type: ignore[index]


def drawn(figure: str) -> list[list[tuple[float, float]]]:
    """The points of each line, turned back from places in the SVG to kimg and values."""
    svg = svg_of(figure)
    data = json.loads(re.search(r'json">(.*?)</script>', figure)[1])  # type: ignore[index]
    (left, x0), (right, x1) = data["from"], data["to"]
    grid = [line for line in svg.findall("line[@class='grid']") if line.get("x1") == f"{left}"]
    labels = [t for t in svg.findall("text") if t.get("text-anchor") == "end"]
    (y0, v0), (y1, v1) = (
        (float(grid[i].attrib["y1"]), float(labels[i].text.replace(",", "")))  # type: ignore[union-attr]
        for i in (0, len(labels) - 1)
    )
    lines = []
    for line in svg.iter("polyline"):
        points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        lines.append(
            [
                (
                    x0 + (x - left) / (right - left) * (x1 - x0),
                    v0 + (y - y0) / (y1 - y0) * (v1 - v0),
                )
                for x, y in points
            ]
        )
    return lines


def test_what_is_drawn_are_the_values() -> None:
    kimg = [4.0, 8.0, 12.0, 20.0]
    first, second = [1.0, 2.0, math.nan, 4.0], [3.0, 0.0, 1.5, 2.0]
    panel = Panel("Loss", kimg, (Curve("G", "green", first), Curve("D", "blue", second)))
    figure = draw_panel(panel, until=20)
    one, two = drawn(figure)
    assert [x for x, _ in two] == pytest.approx(kimg, abs=0.05)
    assert [y for _, y in two] == pytest.approx(second, abs=0.05)
    assert [y for _, y in one] == pytest.approx([1, 2, 4], abs=0.05)  # across the gap
    assert re.findall(r"<b>(.*?)</b>", figure) == ["4", "2"]
    data = json.loads(re.search(r'json">(.*?)</script>', figure)[1])  # type: ignore[index]
    assert data["kimg"] == kimg and data["values"] == [[1, 2, None, 4], second]


def test_many_ticks_become_means_with_a_band() -> None:
    kimg = [float(step + 1) for step in range(3000)]
    values = [float(step % 10) for step in range(3000)]
    figure = draw_panel(Panel("Loss", kimg, (Curve("G", "green", values),)), until=3000)
    data = json.loads(re.search(r'json">(.*?)</script>', figure)[1])  # type: ignore[index]
    assert len(data["kimg"]) == 300 and set(data["values"][0]) == {4.5}
    assert data["kimg"][0] == 5.5 and "<polygon" in figure and "<circle" not in figure
    assert len(figure) < 40_000


def test_what_lies_outside_is_told() -> None:
    values = [1.0, 1.1] * 20 + [77.0]
    panel = Panel("Loss", [float(x) for x in range(41)], (Curve("G", "green", values),))
    assert "Outside the axis: 1 points, as far as 77." in draw_panel(panel, until=40)
    assert "Outside" not in draw_panel(replace(panel, limits=(0.0, 100.0)), until=40)


def test_one_tick_is_a_dot() -> None:
    figure = draw_panel(Panel("T", [4.0], (Curve("D", "blue", [10.0]),)), until=4)
    assert "<circle" in figure and len(drawn(figure)[0]) == 1


def test_words_cannot_leave_their_place() -> None:
    evil = '</script><img src=x onerror="alert(1)">'
    figure = draw_panel(Panel(evil, [1.0], (Curve(evil, "blue", [1.0]),)), until=1)
    assert "<img" not in figure and figure.count("</script>") == 1


def panels(config: Any, *ticks: dict[str, Any]) -> dict[str, Panel]:
    return {panel.title: panel for panel in stats_panels(History(ticks), config)}


def test_charts_are_those_that_the_run_told() -> None:
    values = {"Loss__G__adversarial": 1.0, "Loss__D__adversarial": 2.0, "T_D": 10.0, "p_D": 0.1}
    found = panels(small_config(classifier=False), tick(1, **values), tick(2, **values))
    assert list(found) == ["Adversarial loss", "Horizon T", "p of noise and of augmentation"]
    assert [curve.label for curve in found["Adversarial loss"].curves] == ["G", "D"]
    assert list(found["Horizon T"].curves[0].values) == [10, 10]


def test_values_that_nobody_planned_for_have_a_chart_too() -> None:
    found = panels(small_config(), tick(1, Loss__X__new=3.0, Gradients__replaced=0.0))
    assert list(found) == ["Loss/X/new"]
    assert "Gradients/replaced" in panels(small_config(), tick(1, Gradients__replaced=0.5))


def test_the_target_is_drawn_where_t_is_adaptive() -> None:
    adaptive, ramp = small_config(target=0.4), small_config(horizon_d="ramp")
    sign = tick(1, Signs__real=0.5)
    assert panels(adaptive, sign)["Mean sign of D"].guide == ("target", 0.4)
    assert panels(ramp, sign)["Mean sign of D"].guide is None
    assert panels(small_config(noise_d=False), sign)["Mean sign of D"].guide is None


def test_scores_of_different_origin_are_curves_of_their_own(tmp_path: Any) -> None:
    write_scores(
        tmp_path, score(1, 9), score(2, 8), score(2, 80, num_fake=50), score(3, 70, num_fake=50)
    )
    (panel,) = score_panels(read_records(tmp_path).scores)
    assert panel.title == "fid2k" and list(panel.kimg) == [1, 2, 3]
    assert [curve.label for curve in panel.curves] == ["[1]", "[2]"]
    assert str([list(c.values) for c in panel.curves]) == "[[9.0, 8.0, nan], [nan, 80.0, 70.0]]"
