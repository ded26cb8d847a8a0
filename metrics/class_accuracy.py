"""Class accuracy: how often a classifier takes an image for what it was meant to be.

Known as GAN-test (Shmelkov et al., arXiv 1807.09499) where the classifier learnt from real images.
"""

from __future__ import annotations

import torch


def class_accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share, 0 to 1, of rows of `logits` `[N, num_classes]` that are largest at `labels` `[N]`."""
    return (logits.argmax(dim=1) == labels).double().mean().item()
