"""The comparison of gradients in half precision with those in float32."""

from __future__ import annotations

import pytest
import torch
from network_helpers import exit_status

from benchmarks import half_gradients
from benchmarks.half_gradients import Comparison, compare, make_run


def test_comparison_tells_direction_from_length() -> None:
    exact = [torch.tensor([3.0, 0.0]), torch.tensor([0.0, 2.0])]
    assert compare([2 * exact[0], exact[1]], exact) == pytest.approx((1, 1, 2))
    turned = [torch.tensor([0.0, 3.0]), exact[1]]
    assert compare(turned, exact) == pytest.approx((0, 1, 1))


def test_what_is_compared_does_not_move() -> None:
    comparison = Comparison(make_run(16, 8), 2)
    for phase in comparison.phases:
        first = comparison.gradients(phase, "fp32", 1)
        again = comparison.gradients(phase, "fp32", 4)
        assert len(first) > 5
        assert all(map(torch.equal, first, again)), phase.name


def test_a_row_for_each_phase_and_scale(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--resolution", 8, "--channels", 4, "--scales", "1,16")
    assert exit_status(half_gradients.main, *options) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [tuple(row[:2]) for row in rows] == [
        (phase, scale) for phase in ("C", "G", "G_reg", "D", "D_reg") for scale in ("1", "16")
    ]
