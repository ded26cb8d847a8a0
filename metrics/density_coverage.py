"""Density and coverage (Naeem et al., arXiv 2002.09797)."""

from __future__ import annotations

import torch

from metrics.neighbours import balls_and_points, centred, kth_distances

NEIGHBOURS = 5


def density_coverage(
    real: torch.Tensor, fake: torch.Tensor, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """Density (0 or more, about 1 for equal distributions) and coverage (0 to 1); eqs. 3 and 4.

    Around each of `real` `[N, F]` is a closed ball as far as its k-th nearest other row. Density is
    the number of balls that a row of `fake` `[M, F]` lies in, on average and divided by k; coverage
    the share of balls with any row of `fake` inside. Balls around real images alone make both
    robust against outliers among the generated ones. N must be above `k`.
    """
    reals, fakes = centred(real, fake)
    counts, any_inside = balls_and_points(reals, fakes, kth_distances(reals, k))
    return (counts.double().mean() / k).item(), any_inside.double().mean().item()
