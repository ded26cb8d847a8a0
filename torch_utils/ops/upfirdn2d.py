"""Up-sampling, FIR filtering and down-sampling of images in one operator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from torch_utils.ops.bias_act import Implementation

Taps = tuple[float, ...]
Scale = int | Sequence[int]  # both axes, or [x, y]
Padding = int | Sequence[int]  # all sides, or [x, y], or [x0, x1, y0, y1]

_MATRIX_LIMIT = 32  # pixels a side up to which dense matrices beat convolution on a CPU


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


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: Scale = 1,
    down: Scale = 1,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: Implementation = "auto",
) -> Tensor:
    """Insert zeros, pad, filter, keep every n-th pixel: `down(f * pad(up(x)))`.

    Args:
        x: images `[N, C, H, W]`, any floating dtype.
        f: filter from `setup_filter`, or None for the identity.
        up, down: integer factors >= 1; after each pixel `up - 1` zeros are inserted.
        padding: pixels at the up-sampled size; negative values crop.
        flip_filter: False convolves, True correlates.
        gain: factor on the result.
        impl: `torch` for plain tensor operations; `auto` picks the best there is.

    Returns `[N, C, H', W']` with
    `H' = (H * up + pad_y0 + pad_y1 - taps_y) // down + 1`, differentiable to any order.
    Raises `ValueError` when that is below 1 or an argument is out of range.
    """
    if impl not in ("auto", "torch"):
        raise ValueError(f"impl: auto or torch, found {impl!r}")
    if x.ndim != 4:
        raise ValueError(f"x: shape [N, C, H, W], found {list(x.shape)}")
    up_x, up_y = parse_scale(up)
    down_x, down_y = parse_scale(down)
    x0, x1, y0, y1 = parse_padding(padding)
    taps_x, taps_y = filter_size(f)
    width = x.shape[3] * up_x + x0 + x1 - taps_x
    height = x.shape[2] * up_y + y0 + y1 - taps_y
    if width < 0 or height < 0:
        raise ValueError(f"x: {list(x.shape)} with padding is smaller than the filter")

    if f is not None and _suits_matrices(x):
        factors = separate(tuple(map(tuple, f.reshape(-1, f.shape[-1]).tolist())), f.ndim)
        if factors is not None:
            sides_x, sides_y = (up_x, down_x, x0, x1), (up_y, down_y, y0, y1)
            return _as_matrices(x, factors, sides_x, sides_y, flip_filter, gain)
    x = _insert_zeros(x, up_x, up_y)
    x = F.pad(x, [x0, x1, y0, y1]) if (x0, x1, y0, y1) != (0, 0, 0, 0) else x
    if f is None:
        return x[:, :, ::down_y, ::down_x] * gain
    f = (f * gain ** (f.ndim / 2)).to(x.dtype)
    if not flip_filter:
        f = f.flip(list(range(f.ndim)))
    if f.ndim == 1:
        x = _depthwise(x, f[None, :], 1, down_x)
        return _depthwise(x, f[:, None], down_y, 1)
    return _depthwise(x, f, down_y, down_x)


def filter2d(
    x: Tensor,
    f: Tensor | None,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: Implementation = "auto",
) -> Tensor:
    """Filter images `[N, C, H, W]`; with `padding` 0 the size stays."""
    taps_x, taps_y = filter_size(f)
    sides = _add_padding(padding, taps_x // 2, (taps_x - 1) // 2, taps_y // 2, (taps_y - 1) // 2)
    return upfirdn2d(x, f, padding=sides, flip_filter=flip_filter, gain=gain, impl=impl)


def upsample2d(
    x: Tensor,
    f: Tensor | None,
    up: Scale = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: Implementation = "auto",
) -> Tensor:
    """Enlarge images `[N, C, H, W]` by `up`, keeping their mean; `padding` is at the new size."""
    up_x, up_y = parse_scale(up)
    taps_x, taps_y = filter_size(f)
    sides = _add_padding(
        padding,
        (taps_x + up_x - 1) // 2,
        (taps_x - up_x) // 2,
        (taps_y + up_y - 1) // 2,
        (taps_y - up_y) // 2,
    )
    gain = gain * up_x * up_y  # the inserted zeros dilute the mean
    return upfirdn2d(x, f, up=up, padding=sides, flip_filter=flip_filter, gain=gain, impl=impl)


def downsample2d(
    x: Tensor,
    f: Tensor | None,
    down: Scale = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: Implementation = "auto",
) -> Tensor:
    """Shrink images `[N, C, H, W]` by `down`; `padding` is at the old size."""
    down_x, down_y = parse_scale(down)
    taps_x, taps_y = filter_size(f)
    sides = _add_padding(
        padding,
        (taps_x - down_x + 1) // 2,
        (taps_x - down_x) // 2,
        (taps_y - down_y + 1) // 2,
        (taps_y - down_y) // 2,
    )
    return upfirdn2d(x, f, down=down, padding=sides, flip_filter=flip_filter, gain=gain, impl=impl)


def parse_scale(scale: Scale) -> tuple[int, int]:
    """(x, y) factors; raises `ValueError` below 1."""
    x, y = (scale, scale) if isinstance(scale, int) else scale
    if x < 1 or y < 1:
        raise ValueError(f"scale: at least 1, found {scale}")
    return x, y


def parse_padding(padding: Padding) -> tuple[int, int, int, int]:
    """(x0, x1, y0, y1) pixels."""
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) == 2:
        return padding[0], padding[0], padding[1], padding[1]
    x0, x1, y0, y1 = padding
    return x0, x1, y0, y1


def filter_size(f: Tensor | None) -> tuple[int, int]:
    """Taps along (x, y); (1, 1) for None."""
    return (1, 1) if f is None else (f.shape[-1], f.shape[0])


def _add_padding(padding: Padding, x0: int, x1: int, y0: int, y1: int) -> list[int]:
    return [a + b for a, b in zip(parse_padding(padding), (x0, x1, y0, y1), strict=True)]


def _suits_matrices(x: Tensor) -> bool:
    # float64 is for checking: there every filter is used exactly as given.
    small = 0 < max(x.shape[2:]) <= _MATRIX_LIMIT
    return small and x.device.type == "cpu" and x.dtype != torch.float64


def _as_matrices(
    x: Tensor,
    factors: tuple[Taps, Taps],
    sides_x: tuple[int, int, int, int],
    sides_y: tuple[int, int, int, int],
    flip_filter: bool,
    gain: float,
) -> Tensor:
    """A separable filter as one small dense matrix an axis, A_y x A_xᵀ: quick on a CPU."""
    scale = gain**0.5
    a_x = resampling_matrix(factors[0], x.shape[3], *sides_x, flip_filter, scale, x.dtype)
    a_y = resampling_matrix(factors[1], x.shape[2], *sides_y, flip_filter, scale, x.dtype)
    n, c, h, w = x.shape
    if x.is_contiguous(memory_format=torch.channels_last):
        rows = torch.matmul(a_y, x.permute(0, 2, 3, 1).reshape(n, h, w * c))
        pixels = torch.matmul(a_x, rows.reshape(n, -1, w, c))
        return pixels.permute(0, 3, 1, 2)
    return torch.matmul(a_y, torch.matmul(x, a_x.T))


@lru_cache(maxsize=256)
def separate(taps: tuple[Taps, ...], ndim: int) -> tuple[Taps, Taps] | None:
    """Filters (x, y) whose outer product is the 2-D filter `taps`, None where there are none.

    A 1-D filter (`ndim` 1) is applied along both axes.
    """
    if ndim == 1:
        return taps[0], taps[0]
    total = sum(map(sum, taps))
    if total == 0:
        return None
    x = tuple(sum(column) for column in zip(*taps, strict=True))
    y = tuple(sum(row) / total for row in taps)
    largest = max(abs(value) for row in taps for value in row)
    fits = all(
        abs(y[i] * x[j] - value) <= 1e-6 * largest
        for i, row in enumerate(taps)
        for j, value in enumerate(row)
    )
    return (x, y) if fits else None


@lru_cache(maxsize=256)
def resampling_matrix(
    taps: Taps,
    size: int,
    up: int,
    down: int,
    before: int,
    after: int,
    flip_filter: bool,
    gain: float,
    dtype: torch.dtype,
) -> Tensor:
    """The linear map of `upfirdn2d` along one axis, `[size', size]`, on the CPU."""
    # Cached for all callers, so it must not take on the mode or the device of the first of them.
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        padded = torch.zeros(size, size * up + max(before, 0) + max(after, 0), dtype=torch.float64)
        padded[torch.arange(size), max(before, 0) + up * torch.arange(size)] = gain
        end = padded.shape[1] + min(after, 0)
        kernel = torch.tensor(taps if flip_filter else taps[::-1], dtype=torch.float64)
        windows = padded[:, -min(before, 0) : end].unfold(1, len(taps), down)
        return torch.matmul(windows, kernel).T.contiguous().to(dtype)


def _insert_zeros(x: Tensor, up_x: int, up_y: int) -> Tensor:
    if up_x == up_y == 1:
        return x
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), [0, up_x - 1, 0, 0, 0, up_y - 1])
    return x.reshape(n, c, h * up_y, w * up_x)


def _depthwise(x: Tensor, f: Tensor, stride_y: int, stride_x: int) -> Tensor:
    channels = x.shape[1]
    weight = f[None, None].expand(channels, 1, -1, -1)
    return F.conv2d(x, weight, stride=(stride_y, stride_x), groups=channels)
