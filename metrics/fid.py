"""Fréchet Inception distance (Heusel et al., arXiv 1706.08500)."""

from __future__ import annotations

import torch

# Of which a float64 copy stays in the processor's cache.
_ROWS_AT_ONCE = 1024
_BLOCKS = 8


def fid(real: torch.Tensor, fake: torch.Tensor) -> float:
    """FID of features `real` `[N, F]` and `fake` `[M, F]`, any float dtype; at least 0.

    The squared Fréchet distance of two Gaussians, ‖μa − μb‖² + Tr(A + B − 2 (AB)^½) (eq. 6), that
    have the means and the biased covariances of the features. N and M at least 1. These divide by
    N, as scores of StyleGAN2-ADA do; Heusel's code divides by N − 1, which enlarges a covariance by
    N / (N − 1).
    """
    few, many = sorted((real, fake), key=len)  # the distance is symmetric
    mean_a, a = mean_and_covariance(few)
    mean_b, b = mean_and_covariance(many)
    distance = (mean_a - mean_b).square().sum() + a.trace() + b.trace()
    distance -= 2 * _trace_of_sqrt_of_product(_root(few, mean_a, a), b)
    return max(distance.item(), 0.0)  # rounding may leave -1e-9 for equal Gaussians


def mean_and_covariance(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean `[F]` and biased covariance `[F, F]`, float64, of `features` `[N, F]`, N at least 1."""
    assert features.ndim == 2 and len(features) > 0
    parts = torch.split(features, _ROWS_AT_ONCE)
    total = torch.stack([rows.sum(dim=0, dtype=torch.float64) for rows in parts]).sum(dim=0)
    mean = total / len(features)
    width = len(mean)
    scatter = torch.zeros(width, width, dtype=torch.float64, device=features.device)
    columns = [slice(width * i // _BLOCKS, width * (i + 1) // _BLOCKS) for i in range(_BLOCKS)]
    for rows in parts:
        centred = rows.double() - mean
        for block in columns:  # nothing left of the diagonal blocks: it is symmetric
            scatter[block, block.start :].addmm_(centred[:, block].T, centred[:, block.start :])
    upper = scatter.triu() / len(features)
    return mean, upper + upper.triu(diagonal=1).T


def _root(features: torch.Tensor, mean: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """R `[F, K]`, K at most F, with R Rᵀ = `covariance` of `features` `[N, F]`."""
    root: torch.Tensor
    triangle: torch.Tensor
    if len(features) < features.shape[1]:
        root = (features.double() - mean).T / len(features) ** 0.5
        return root
    triangle, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return triangle
    values, vectors = torch.linalg.eigh(covariance)  # slower, but for singular ones too
    root = vectors * values.clamp(min=0).sqrt()
    return root


def _trace_of_sqrt_of_product(root_a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Tr (AB)^½ for positive semi-definite A = R Rᵀ and B `[F, F]`; R `[F, K]`.

    AB has the eigenvalues of the symmetric Rᵀ B R, and zeros; their square roots sum to the trace.
    Unlike a general matrix square root this stays real and accurate where A or B is singular.
    """
    product = root_a.T @ b @ root_a
    eigenvalues: torch.Tensor = torch.linalg.eigvalsh((product + product.T) / 2)
    return eigenvalues.clamp(min=0).sqrt().sum()
