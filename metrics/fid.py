"""Fréchet Inception distance (Heusel et al., arXiv 1706.08500)."""

from __future__ import annotations

import torch

_ROWS_AT_ONCE = 8192


def fid(real: torch.Tensor, fake: torch.Tensor) -> float:
    """FID of features `real` `[N, F]` and `fake` `[M, F]`, any float dtype; at least 0.

    The Gaussians of eq. 6 have the means and the biased covariances (divided by N, not N − 1) of
    the features, as the reference scores have.
    """
    return frechet_distance(*mean_and_covariance(real), *mean_and_covariance(fake))


def mean_and_covariance(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean `[F]` and biased covariance `[F, F]`, float64, of `features` `[N, F]`, N at least 1."""
    assert features.ndim == 2 and len(features) > 0
    mean = features.mean(dim=0, dtype=torch.float64)
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=features.device)
    for rows in torch.split(features, _ROWS_AT_ONCE):
        centred = rows.double() - mean
        scatter.addmm_(centred.T, centred)
    return mean, scatter / len(features)


def frechet_distance(
    mean_a: torch.Tensor, cov_a: torch.Tensor, mean_b: torch.Tensor, cov_b: torch.Tensor
) -> float:
    """Squared Fréchet distance of two Gaussians: ‖μa − μb‖² + Tr(A + B − 2 (AB)^½); eq. 6.

    Means float64 `[F]`, covariances float64 `[F, F]`, symmetric, of any rank.
    """
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace()
    distance -= 2 * _trace_of_sqrt_of_product(cov_a, cov_b)
    return max(distance.item(), 0.0)  # rounding may leave -1e-9 for equal Gaussians


def _trace_of_sqrt_of_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Tr (AB)^½ for positive semi-definite A, B.

    AB has the eigenvalues of the symmetric A^½ B A^½; their square roots sum to the trace.
    Unlike a general matrix square root this stays real and accurate where A or B is singular.
    """
    values, vectors = torch.linalg.eigh(a)
    root_a = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = root_a @ b @ root_a
    eigenvalues: torch.Tensor = torch.linalg.eigvalsh((product + product.T) / 2)
    return eigenvalues.clamp(min=0).sqrt().sum()
