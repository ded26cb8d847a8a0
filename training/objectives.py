"""Losses: pure functions of tensors, one equation each."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from training.config import Adversarial


def generator_loss(fake_logits: Tensor, adversarial: Adversarial = "softplus") -> Tensor:
    """Of logits `[N, 1]`, averaged: softplus(-D(x̃)), non-saturating (Goodfellow 2014).

    `hinge`: -D(x̃) (Miyato 2018, 1802.05957, eq. 17).
    """
    if adversarial == "hinge":
        return -fake_logits.mean()
    return F.softplus(-fake_logits).mean()


def discriminator_loss(
    fake_logits: Tensor, real_logits: Tensor, adversarial: Adversarial = "softplus"
) -> Tensor:
    """Of logits `[N, 1]`, averaged: softplus(D(x̃)) + softplus(-D(x)) (Goodfellow 2014).

    `hinge`: max(0, 1 + D(x̃)) + max(0, 1 - D(x)) (Miyato 2018, 1802.05957, eq. 16).
    """
    if adversarial == "hinge":
        return F.relu(1 + fake_logits).mean() + F.relu(1 - real_logits).mean()
    return F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()


def r1_penalty(real_logits: Tensor, real_images: Tensor, gamma: float) -> Tensor:
    """γ/2 E‖∇ D(x)‖² (Mescheder 2018, 1801.04406, eq. 9); twice differentiable in D.

    `real_images` `[N, C, H, W]` must require gradients and lie before D, the noise included.
    """
    (gradients,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradients.square().sum(dim=[1, 2, 3]).mean() * (gamma / 2)


def path_lengths(images: Tensor, ws: Tensor) -> Tensor:
    """‖Jᵀy‖ of each image, `[N]`, for random y (StyleGAN2, 1912.04958, section 3.2).

    `images` `[N, C, H, W]` made from `ws` `[N, num_ws, w_dim]`, which must require gradients. The
    length is the root of the mean over layers of the squared norm.
    """
    noise = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
    (gradients,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
    return gradients.square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(lengths: Tensor, mean_length: Tensor) -> Tensor:
    """E(length - a)² for lengths `[N]` and their running mean a, a scalar (StyleGAN2, eq. 4)."""
    return (lengths - mean_length).square().mean()


def supervised_contrastive_loss(
    features: Tensor, labels: Tensor, temperature: float = 0.07
) -> Tensor:
    """SupCon, the mean over anchors of L_out (Khosla 2020, 2004.11362, eq. 2).

    Args:
        features: `[N, V, F]`, V views of N images, normalised by the caller.
        labels: int64 `[N]`; views with the same label attract each other.
        temperature: > 0; small values look at the nearest negatives only.

    Returns a scalar. Needs at least two views in all, `N * V >= 2` with V >= 2.
    """
    n, views, _ = features.shape
    x = features.flatten(0, 1)
    anchors = labels.repeat_interleave(views)
    itself = torch.eye(n * views, dtype=torch.bool, device=x.device)
    similarity = (x @ x.T / temperature).masked_fill(itself, -math.inf)
    log_probability = similarity.log_softmax(dim=1).masked_fill(itself, 0)
    positives = (anchors[:, None] == anchors[None, :]) & ~itself
    return -((log_probability * positives).sum(dim=1) / positives.sum(dim=1)).mean()


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of class logits `[N, K]` with labels int64 `[N]`, averaged."""
    return F.cross_entropy(logits, labels)
