"""Running statistics that stay on the device until somebody reads them."""

from __future__ import annotations

import torch
from torch import Tensor


class Stats:
    """Mean and standard deviation of named quantities since the last `collect`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._moments: dict[str, Tensor] = {}  # count, sum, sum of squares

    def report(self, name: str, values: Tensor) -> None:
        """Add all elements of `values` to the statistic `name`, without a host synchronisation."""
        x = values.detach().float().flatten()
        moments = torch.stack([torch.full_like(x, 1).sum(), x.sum(), x.square().sum()])
        if name in self._moments:
            self._moments[name] += moments
        else:
            self._moments[name] = moments

    def collect(self) -> dict[str, tuple[float, float]]:
        """(mean, standard deviation) of each statistic, and begin anew."""
        names = sorted(self._moments)
        if not names:
            return {}
        rows = torch.stack([self._moments[name] for name in names]).double().tolist()
        self._moments.clear()
        result = {}
        for name, (count, total, squares) in zip(names, rows, strict=True):
            mean = total / count
            result[name] = (mean, max(squares / count - mean**2, 0.0) ** 0.5)
        return result
