"""FIR filters of `upfirdn2d`: a 1-D tensor is applied along both axes, a 2-D one as it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def setup_filter(
    f: Tensor | Sequence[float] | Sequence[Sequence[float]] | float | None,
    device: torch.device | str = "cpu",
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1,
    separable: bool | None = None,
) -> Tensor:
    """A float32 FIR filter for `upfirdn2d`.

    Args:
        f: taps, 1-D or 2-D; None or a scalar for the identity.
        normalize: scale the taps to sum 1.
        flip_filter: reverse the taps.
        gain: factor on images (a separable filter carries its square root).
        separable: keep a 1-D filter 1-D, to be applied along both axes; None: from 8 taps on.

    Returns `[taps]` when separable, otherwise `[taps_y, taps_x]`.
    """
    taps = torch.as_tensor(1.0 if f is None else f, dtype=torch.float32)
    if taps.ndim > 2 or taps.numel() == 0:
        raise ValueError(f"f: 1 or 2 dimensions and at least one tap, found {list(taps.shape)}")
    taps = taps[None] if taps.ndim == 0 else taps
    if separable is None:
        separable = taps.ndim == 1 and taps.numel() >= 8
    if taps.ndim == 1 and not separable:
        taps = taps.outer(taps)
    if normalize:
        taps = taps / taps.sum()
    if flip_filter:
        taps = taps.flip(list(range(taps.ndim)))
    return torch.mul(taps, gain ** (taps.ndim / 2)).to(device)


def filter_size(f: Tensor | None) -> tuple[int, int]:
    """Taps along (x, y); (1, 1) for None."""
    return (1, 1) if f is None else (f.shape[-1], f.shape[0])
