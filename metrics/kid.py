"""Kernel Inception distance (Bińkowski et al., arXiv 1801.01401)."""

from __future__ import annotations

import torch

NUM_SUBSETS = 100
MAX_SUBSET_SIZE = 1000
_ROWS_AT_ONCE = 250


def kid(
    real: torch.Tensor,
    fake: torch.Tensor,
    num_subsets: int = NUM_SUBSETS,
    max_subset_size: int = MAX_SUBSET_SIZE,
    seed: int = 0,
) -> float:
    """KID of features `real` `[N, F]` and `fake` `[M, F]`: mean over subsets; may fall below 0.

    Each of `num_subsets` estimates (section 4 of the paper) takes `max_subset_size` rows of either
    side, fewer where a side has fewer, drawn without replacement by `seed`. N and M at least 2.
    """
    size = min(len(real), len(fake), max_subset_size)
    if size == len(real) == len(fake):
        return squared_mmd(real, fake)  # every subset is everything
    generator = torch.Generator().manual_seed(seed)
    estimates = [
        squared_mmd(_draw(real, size, generator), _draw(fake, size, generator))
        for _ in range(num_subsets)
    ]
    return sum(estimates) / num_subsets


def _draw(features: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    rows = torch.randperm(len(features), generator=generator)[:size]
    return features[rows.to(features.device)]


def squared_mmd(x: torch.Tensor, y: torch.Tensor) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy of `x`, `y`, both `[N, F]`, N > 1.

    Gretton et al. 2012, eq. 3, with the kernel of `cubic_kernel`.
    """
    assert x.shape == y.shape and len(x) > 1
    pairs = len(x) * (len(x) - 1)
    within = _sum_of_pairs(x) + _sum_of_pairs(y)
    return (within / pairs - 2 * cubic_kernel(x, y).mean()).item()


def cubic_kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """k(x, y) = (xᵀy / F + 1)³, section 4: float64 `[N, M]` of `[N, F]` and `[M, F]`.

    The inner products are taken in the dtype of the features: float32 halves the time, and its
    rounding averages out over N × M entries; what is summed is float64.
    """
    inner: torch.Tensor = (x @ y.T).double()
    return inner.div_(x.shape[1]).add_(1).pow_(3)


def _sum_of_pairs(x: torch.Tensor) -> torch.Tensor:
    """Σ k(x_i, x_j) over all i ≠ j: what is left of the diagonal blocks equals what is right."""
    total = torch.zeros([], dtype=torch.float64, device=x.device)
    for first in range(0, len(x), _ROWS_AT_ONCE):
        rows = x[first : first + _ROWS_AT_ONCE]
        block, right = cubic_kernel(rows, x[first:]).tensor_split([len(rows)], dim=1)
        total += block.sum() - block.trace() + 2 * right.sum()
    return total
