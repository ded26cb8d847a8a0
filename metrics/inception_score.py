"""Inception Score (Salimans et al., arXiv 1606.03498)."""

from __future__ import annotations

from itertools import pairwise

import torch

NUM_SPLITS = 10


def inception_score(
    probabilities: torch.Tensor, num_splits: int = NUM_SPLITS
) -> tuple[float, float]:
    """Mean and (biased) standard deviation of the score over `num_splits` consecutive parts.

    `probabilities` `[N, num_classes]`, rows summing up to 1, N at least `num_splits`. The score
    of a part is exp E_x KL(p(y|x) ‖ p(y)), 1 to num_classes (section 4).
    """
    count = len(probabilities)
    assert count >= num_splits
    bounds = [index * count // num_splits for index in range(num_splits + 1)]
    parts = [probabilities[first:last].double() for first, last in pairwise(bounds)]
    scores = torch.stack([_mean_divergence(part).exp() for part in parts])
    return scores.mean().item(), scores.std(correction=0).item()


def _mean_divergence(p: torch.Tensor) -> torch.Tensor:
    """Mean of KL(p(y|x) ‖ p(y)) over the rows of `p` `[N, num_classes]`, in nats; 0 log 0 is 0."""
    divergence: torch.Tensor = torch.special.xlogy(p, p) - torch.special.xlogy(p, p.mean(dim=0))
    return divergence.sum(dim=1).mean()
