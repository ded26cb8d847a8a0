"""Up-sampling, FIR filtering and down-sampling of images in one operator."""

from __future__ import annotations

from torch import Tensor

from torch_utils.ops import upfirdn2d_ops
from torch_utils.ops.cuda.jit import Implementation, takes_kernels
from torch_utils.ops.filters import filter_size, setup_filter
from torch_utils.ops.resampling import resample
from torch_utils.ops.upfirdn2d_geometry import (
    Padding,
    Scale,
    centred_padding,
    parse_axes,
    parse_scale,
)

__all__ = ["downsample2d", "filter2d", "setup_filter", "upfirdn2d", "upsample2d"]


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
        impl: `torch` for plain tensor operations, `cuda` for kernels, `auto` for kernels on CUDA
            tensors where they can be built. Kernels give no gradient to `f`: where it wants one,
            `auto` takes plain operations.

    Returns `[N, C, H', W']` in x's dtype with
    `H' = (H * up + pad_y0 + pad_y1 - taps_y) // down + 1`, differentiable to any order.
    Raises `ValueError` when that is below 1 or an argument is out of range, and `KernelError` where
    `impl` is `cuda` and kernels cannot be built.
    """
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"x: floats of shape [N, C, H, W], found {x.dtype} {list(x.shape)}")
    axis_x, axis_y = parse_axes(up, down, padding)
    taps_x, taps_y = filter_size(f)
    if axis_x.output_size(x.shape[3], taps_x) < 1 or axis_y.output_size(x.shape[2], taps_y) < 1:
        raise ValueError(f"x: {list(x.shape)} with padding is smaller than the filter")
    learned = f is not None and f.requires_grad
    if takes_kernels(x, impl) and not (learned and impl == "auto"):
        y: Tensor = upfirdn2d_ops.upfirdn2d(x, f, axis_x, axis_y, flip_filter, gain)
        return y
    return resample(x, f, axis_x, axis_y, flip_filter, gain)


def filter2d(
    x: Tensor,
    f: Tensor | None,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: Implementation = "auto",
) -> Tensor:
    """Filter images `[N, C, H, W]`; with `padding` 0 the size stays."""
    return downsample2d(x, f, 1, padding, flip_filter, gain, impl)


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
    sides = centred_padding(padding, filter_size(f), up=up)
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
    sides = centred_padding(padding, filter_size(f), down=down)
    return upfirdn2d(x, f, down=down, padding=sides, flip_filter=flip_filter, gain=gain, impl=impl)
