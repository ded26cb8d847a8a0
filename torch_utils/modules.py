"""Small helpers for modules."""

from __future__ import annotations

import torch
from torch import nn


def count_parameters(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())


def all_finite(module: nn.Module) -> bool:
    """Whether every number that a module learns is finite; waits for the device."""
    return bool(torch.stack([p.isfinite().all() for p in module.parameters()]).all())
