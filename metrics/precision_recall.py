"""Improved precision and recall (Kynkäänniemi et al., arXiv 1904.06991)."""

from __future__ import annotations

import torch

from metrics.neighbours import centred, inside_any, kth_distances

NEIGHBOURS = 3


def precision_recall(
    real: torch.Tensor, fake: torch.Tensor, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """Precision and recall, each 0 to 1, of features `real` `[N, F]` and `fake` `[M, F]`; eq. 2.

    The manifold of a set is a closed ball around each row, as far as its k-th nearest other row
    (eq. 1). Precision is the share of generated images inside the manifold of real ones, recall the
    share of real images inside the manifold of generated ones. N and M must be above `k`.
    """
    reals, fakes = centred(real, fake)
    precision = inside_any(fakes, reals, kth_distances(reals, k)).double().mean()
    recall = inside_any(reals, fakes, kth_distances(fakes, k)).double().mean()
    return precision.item(), recall.item()
