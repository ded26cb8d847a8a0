"""Randomness as a function of where training stands, so that a resume needs no generator state."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that is as good as unrelated for different `parts`."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def reseed(*parts: int | str) -> None:
    """Seed torch's generators of every device from `parts` (seed, rank, images seen, ...)."""
    torch.manual_seed(derive_seed(*parts))
