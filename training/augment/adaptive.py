"""A probability that follows how often D is right on real images (ADA, 2006.06676, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AdaptiveProbability(nn.Module):
    """p follows sign(r - target), r the mean of sign(D(real)) since the last move.

    `target`: r that p is steered to. `kimg`: thousand images for p to go from 0 to 1. `max_p`: p is
    kept in 0..max_p. The state lives in float32 scalars on the device; nothing waits for them.
    """

    p: Tensor
    sign_sum: Tensor
    sign_count: Tensor

    def __init__(self, target: float, kimg: float, max_p: float = 1.0) -> None:
        super().__init__()
        self.target, self.kimg, self.max_p = target, kimg, max_p
        self.register_buffer("p", torch.zeros([]))
        self.register_buffer("sign_sum", torch.zeros([]))
        self.register_buffer("sign_count", torch.zeros([]))

    def observe(self, real_logits: Tensor) -> None:
        """Take note of D's logits on real images `[N, 1]`."""
        self.sign_sum += real_logits.detach().sign().sum()
        self.sign_count += real_logits.numel()

    def observations(self) -> list[Tensor]:
        """What `observe` moves; r, and so p, is the same on all processes once it is averaged."""
        return [self.sign_sum, self.sign_count]

    def move(self, num_images: int) -> None:
        """p += sign(r - target) · num_images / (kimg · 1000), and forget what was observed.

        `num_images`: trained on since the last move, by all processes together.
        """
        r = self.sign_sum / self.sign_count.clamp(min=1)
        # Without an observation nothing is known and nothing moves.
        direction = (r - self.target).sign() * self.sign_count.clamp(max=1)
        self.p.add_(direction * (num_images / (self.kimg * 1000))).clamp_(0, self.max_p)
        self.sign_sum.zero_()
        self.sign_count.zero_()
