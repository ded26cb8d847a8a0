"""Running statistics that stay on the device until somebody reads them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Stats:
    """Mean and standard deviation of named quantities since the last `collect`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._moments: dict[str, Tensor] = {}  # count, sum, sum of squares

    def report(self, name: str, values: Tensor) -> None:
        """Add the finite elements of `values` to the statistic `name`, without synchronising."""
        x = values.detach().float().flatten()
        finite = x.isfinite()
        x = torch.where(finite, x, torch.zeros_like(x))
        moments = torch.stack([finite.float().sum(), x.sum(), x.square().sum()])
        if name in self._moments:
            self._moments[name] += moments
        else:
            self._moments[name] = moments

    def collect(self) -> dict[str, tuple[float, float]]:
        """(mean, standard deviation) of each statistic, and begin anew.

        Both are nan where nothing finite was reported.
        """
        names = sorted(self._moments)
        if not names:
            return {}
        rows = torch.stack([self._moments[name] for name in names]).double().tolist()
        self._moments.clear()
        result = {}
        for name, (count, total, squares) in zip(names, rows, strict=True):
            if count == 0:
                result[name] = (math.nan, math.nan)
                continue
            mean = total / count
            result[name] = (mean, max(squares / count - mean**2, 0.0) ** 0.5)
        return result
