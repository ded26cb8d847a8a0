"""Improved precision and recall (Kynkäänniemi et al., arXiv 1904.06991)."""

from __future__ import annotations

import torch

# Distances held at once: 64 MiB in float32.
_MAX_DISTANCES = 2**24


def precision_recall(real: torch.Tensor, fake: torch.Tensor, k: int = 3) -> tuple[float, float]:
    """Precision and recall, each 0 to 1, of features `real` `[N, F]` and `fake` `[M, F]`; eq. 2.

    Precision is the share of generated images inside the manifold of real ones, recall the share
    of real images inside the manifold of generated ones. N and M must be above `k`.
    """
    # Distances do not change, but lose less to cancellation near the origin.
    centre = real.mean(dim=0, dtype=torch.float64)
    real, fake = (real.double() - centre).float(), (fake.double() - centre).float()
    precision = _inside_manifold(fake, real, k).double().mean()
    recall = _inside_manifold(real, fake, k).double().mean()
    return precision.item(), recall.item()


def _inside_manifold(queries: torch.Tensor, manifold: torch.Tensor, k: int) -> torch.Tensor:
    """Which `queries` `[N, F]` lie near `manifold` `[M, F]`: bool `[N]`; eq. 1.

    The manifold is a closed ball around each row, as far as its k-th nearest other row.
    """
    radii = _neighbour_distances(manifold, k)
    chunks = torch.split(queries, _rows_at_once(manifold))
    return torch.cat([(torch.cdist(rows, manifold) <= radii).any(dim=1) for rows in chunks])


def _neighbour_distances(features: torch.Tensor, k: int) -> torch.Tensor:
    """Distance of each row `[N, F]` to its k-th nearest other row: `[N]`."""
    assert len(features) > k
    nearest = [
        torch.cdist(rows, features).topk(k + 1, dim=1, largest=False).values  # with itself
        for rows in torch.split(features, _rows_at_once(features))
    ]
    return torch.cat(nearest)[:, k]


def _rows_at_once(others: torch.Tensor) -> int:
    return max(_MAX_DISTANCES // len(others), 1)
