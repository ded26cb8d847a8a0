"""Running statistics that stay on the device until somebody reads them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from torch_utils.distributed import sum_
from torch_utils.world import World


class Stats:
    """Mean and standard deviation of named quantities since the last `collect`."""

    def __init__(self, world: World) -> None:
        self._world = world
        # Number of values, of finite ones, their sum, sum of squares. The tensors stay from one
        # `collect` to the next, so that a captured CUDA graph goes on adding to them.
        self._moments: dict[str, Tensor] = {}

    def report(self, name: str, values: Tensor) -> None:
        """Add the finite elements of `values`, of any shape, to the statistic `name`.

        Does not wait for the device.
        """
        x = values.detach().float().flatten()
        finite = x.isfinite()
        x = torch.where(finite, x, torch.zeros_like(x))
        count = x.new_full([], x.numel())
        moments = torch.stack([count, finite.float().sum(), x.sum(), x.square().sum()])
        if name in self._moments:
            self._moments[name] += moments
        else:
            self._moments[name] = moments

    def remember(self) -> Callable[[], None]:
        """Take note of the statistics as they are; returns what puts them back, in place."""
        before = {name: moments.clone() for name, moments in self._moments.items()}

        def restore() -> None:
            for name, moments in self._moments.items():
                moments.copy_(before[name] if name in before else torch.zeros_like(moments))

        return restore

    def collect(self) -> dict[str, tuple[float, float]]:
        """(mean, standard deviation) of each statistic over all processes, and begin anew.

        Both are nan where nothing finite was reported. All processes must have reported the same
        names.
        """
        names = sorted(self._moments)
        if not names:
            return {}
        # float64 on the host alone, where every device can bring its numbers: MPS has none.
        table = torch.stack([self._moments[name] for name in names]).cpu().double()
        sum_(table, self._world)
        for moments in self._moments.values():
            moments.zero_()
        result = {}
        for name, (count, finite, total, squares) in zip(names, table.tolist(), strict=True):
            if count > 0:
                result[name] = _mean_and_deviation(finite, total, squares)
        return result


def _mean_and_deviation(count: float, total: float, squares: float) -> tuple[float, float]:
    if count == 0:
        return math.nan, math.nan
    mean = total / count
    return mean, max(squares / count - mean**2, 0.0) ** 0.5
