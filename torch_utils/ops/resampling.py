"""`upfirdn2d` in plain tensor operations: dense matrices for small images, convolutions above."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from torch_utils.ops.filters import filter_size
from torch_utils.ops.upfirdn2d_geometry import Axis

Taps = tuple[float, ...]

# Pixels a side up to which dense matrices beat convolution on a CPU. More taps cost a convolution
# more, and a matrix nothing.
_MATRIX_LIMIT, _MATRIX_LIMIT_SEPARABLE = 32, 512


def resample(
    x: Tensor, f: Tensor | None, axis_x: Axis, axis_y: Axis, flip_filter: bool, gain: float
) -> Tensor:
    """`upfirdn2d` of `[N, C, H, W]`, in x's dtype, differentiable to any order in `x` and `f`.

    Automatic mixed precision does not narrow it: an image stays what it is.
    """
    if x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            return _resample(x, f, axis_x, axis_y, flip_filter, gain)
    return _resample(x, f, axis_x, axis_y, flip_filter, gain)


def _resample(
    x: Tensor, f: Tensor | None, axis_x: Axis, axis_y: Axis, flip_filter: bool, gain: float
) -> Tensor:
    if f is not None and _suits_matrices(x, f):
        factors = separate(tuple(map(tuple, f.reshape(-1, f.shape[-1]).tolist())), f.ndim)
        if factors is not None:
            return _as_matrices(x, factors, axis_x, axis_y, flip_filter, gain)
    nothing = _keeps_nothing(x.shape[3], axis_x) or _keeps_nothing(x.shape[2], axis_y)
    if nothing or x.numel() == 0:
        taps_x, taps_y = filter_size(f)
        width = axis_x.output_size(x.shape[3], taps_x)
        height = axis_y.output_size(x.shape[2], taps_y)
        # Padding alone; the empty sum keeps the graph.
        return x.new_zeros(*x.shape[:2], height, width) + x[:, :, :0].sum()
    x = _insert_zeros(x, axis_x.up, axis_y.up)
    sides = [axis_x.before, axis_x.after, axis_y.before, axis_y.after]
    x = F.pad(x, sides) if any(sides) else x
    if f is None:
        return x[:, :, :: axis_y.down, :: axis_x.down] * gain
    if not flip_filter:
        f = f.flip(list(range(f.ndim)))
    if f.ndim == 1:
        f = (f * abs(gain) ** 0.5).to(x.dtype)
        x = _depthwise(x, f[None, :], 1, axis_x.down)
        return _depthwise(x, f[:, None] if gain >= 0 else -f[:, None], axis_y.down, 1)
    return _depthwise(x, (f * gain).to(x.dtype), axis_y.down, axis_x.down)


def _keeps_nothing(size: int, axis: Axis) -> bool:
    """Whether padding crops all there is of an axis."""
    return size * axis.up + min(axis.before, axis.after, 0) <= 0


def _suits_matrices(x: Tensor, f: Tensor) -> bool:
    # float64 is for checking: there every filter is used exactly as given. While a graph is traced
    # the taps are not known.
    limit = _MATRIX_LIMIT if f.ndim == 2 else _MATRIX_LIMIT_SEPARABLE
    small = max(x.shape[2:]) <= limit and x.numel() > 0
    eligible = x.device.type == "cpu" and x.dtype != torch.float64
    return small and eligible and not torch.compiler.is_compiling()


def _as_matrices(
    x: Tensor,
    factors: tuple[Taps, Taps],
    axis_x: Axis,
    axis_y: Axis,
    flip_filter: bool,
    gain: float,
) -> Tensor:
    """A separable filter as one small dense matrix an axis, A_y x A_xᵀ: quick on a CPU."""
    a_x = resampling_matrix(factors[0], x.shape[3], axis_x, flip_filter, 1.0, x.dtype)
    a_y = resampling_matrix(factors[1], x.shape[2], axis_y, flip_filter, gain, x.dtype)
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
    taps: Taps, size: int, axis: Axis, flip_filter: bool, gain: float, dtype: torch.dtype
) -> Tensor:
    """The linear map of `upfirdn2d` along one axis, `[size', size]`, on the CPU."""
    up, down, before, after = axis
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
