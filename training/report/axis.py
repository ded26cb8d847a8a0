"""Axes of charts: which values they span, and where they are marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_FEW = 8  # values; none of so few is an outlier
_TICKS = 6  # at most about
_MANY_TIMES = 20.0  # from which ratio on positive values are drawn by their logarithms


@dataclass(frozen=True)
class Axis:
    """From `low` to `high` (`low` < `high`), linear or logarithmic (then `low` > 0)."""

    low: float
    high: float
    is_log: bool = False

    def share(self, value: float) -> float:
        """Where `value` lies: 0 at `low`, 1 at `high`, beyond both where it is outside."""
        if self.is_log:
            if value <= 0:
                return -math.inf
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values on the axis, about four."""
        if not self.is_log:
            return _round_steps(self.low, self.high)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5)):
            found = [digit * 10.0**decade for decade in decades for digit in digits]
            inside = [tick for tick in found if self.low <= tick <= self.high]
            if len(inside) >= 3:
                return inside[:: math.ceil(len(inside) / _TICKS)]
        return inside


def robust_axis(
    values: Sequence[float],
    limits: tuple[float | None, float | None] = (None, None),
    may_be_log: bool = False,
) -> Axis:
    """An axis on which `values` (finite, one or more) can be told apart, whatever the outliers.

    Values that lie farther from the middle nine tenths than 1.5 times their span are left outside.
    `limits` that are given stay as they are. Positive values that go through more than a factor of
    20 get a logarithmic axis, if they may.
    """
    ordered = sorted(values)
    low, high = _quantile(ordered, 0.05), _quantile(ordered, 0.95)
    if may_be_log and ordered[0] > 0 and high / low > _MANY_TIMES:
        inner = robust_axis([math.log(value) for value in ordered])
        return Axis(math.exp(inner.low), math.exp(inner.high), is_log=True)
    reach = 1.5 * (high - low) if len(ordered) >= _FEW and high > low else math.inf
    low, high = max(ordered[0], low - reach), min(ordered[-1], high + reach)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    bottom = low - margin if limits[0] is None else limits[0]
    top = high + margin if limits[1] is None else limits[1]
    return Axis(bottom, top if top > bottom else bottom + margin)


def number_text(value: float, digits: int = 4) -> str:
    """A number to be read: four significant digits, thousands apart."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.{digits + 6}g}"


def kimg_text(kimg: float) -> str:
    """Thousands of images to be read: from ten on with one decimal."""
    return number_text(round(kimg, 1 if kimg >= 10 else 3), 9)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    index = min(int(place), len(ordered) - 2) if len(ordered) > 1 else 0
    following = ordered[min(index + 1, len(ordered) - 1)]
    return ordered[index] + (place - index) * (following - ordered[index])


def _round_steps(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between `low` and `high`, at most seven."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]
