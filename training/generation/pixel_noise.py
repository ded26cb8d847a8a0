"""Per-pixel noise of a synthesis network that follows from a seed for each image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def seeded_noise(synthesis: nn.Module, seeds: Sequence[int], device: torch.device) -> Tensor:
    """N(0, 1) for all layers, `[N, numbers of all layers]` on `device`; a row follows its seed."""
    total = sum(map(math.prod, _shapes(synthesis).values()))
    generator = torch.Generator(device)
    rows = [
        torch.randn(total, generator=generator.manual_seed(seed), device=device) for seed in seeds
    ]
    return torch.stack(rows)


def synthesise_with(synthesis: nn.Module, ws: Tensor, noise: Tensor) -> Tensor:
    """Float images of styles `[N, num_ws, w_dim]`, with a row of `seeded_noise` for each.

    The layers' constant noise is replaced for this call by one that differs for each image.
    """
    shapes = _shapes(synthesis)
    parts = torch.split(noise, [math.prod(shape) for shape in shapes.values()], dim=1)
    buffers = {
        name: part.reshape(-1, 1, *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
    images: Tensor = torch.func.functional_call(synthesis, buffers, (ws,), {"noise_mode": "const"})
    return images


def has_noise(synthesis: nn.Module) -> bool:
    """Whether any layer adds noise; SNGAN's do not."""
    return bool(_shapes(synthesis))


def _shapes(synthesis: nn.Module) -> dict[str, tuple[int, ...]]:
    """(height, width) of each layer's noise, by the name of its buffer."""
    return {
        name: tuple(buffer.shape)
        for name, buffer in synthesis.named_buffers()
        if name.endswith("noise_const")
    }
