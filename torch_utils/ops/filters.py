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

    Returns `[taps]` when separable, otherwise `[taps_y, taps_x]`. Raises `ValueError` for what is
    no filter, for taps without a sum to normalize, and for a negative `gain` where it is separable.
    """
    taps = torch.as_tensor(1.0 if f is None else f, dtype=torch.float32, device="cpu")
    taps = taps[None] if taps.ndim == 0 else taps
    _check(taps)
    if separable is None:
        separable = taps.ndim == 1 and taps.numel() >= 8
    if taps.ndim == 1 and not separable:
        taps = taps.outer(taps)
    if taps.ndim == 1 and gain < 0:
        raise ValueError(f"gain: not negative for a separable filter, found {gain}")
    if normalize:
        if not taps.sum().abs() > 1e-6 * taps.abs().sum():  # NaN neither
            raise ValueError("f: taps that sum to 0 cannot be normalized; use normalize=False")
        taps = taps / taps.sum()
    if flip_filter:
        taps = taps.flip(list(range(taps.ndim)))
    return torch.mul(taps, gain ** (taps.ndim / 2)).to(device)


def filter_size(f: Tensor | None) -> tuple[int, int]:
    """Taps along (x, y), (1, 1) for None; raises `ValueError` for what is no filter."""
    if f is None:
        return 1, 1
    _check(f)
    return f.shape[-1], f.shape[0]


def _check(f: Tensor) -> None:
    if f.ndim not in (1, 2) or f.numel() == 0:
        raise ValueError(f"f: 1 or 2 dimensions and at least one tap, found {list(f.shape)}")
