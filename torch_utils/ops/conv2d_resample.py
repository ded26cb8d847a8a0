"""Convolution with antialiased up- or down-sampling."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from torch_utils.ops.filters import filter_size
from torch_utils.ops.upfirdn2d import upfirdn2d
from torch_utils.ops.upfirdn2d_geometry import Padding, centred_padding, parse_padding

# Channels on either side up to which a matrix product beats a 1x1 convolution on a CPU.
_NARROW = 32


def conv2d_resample(
    x: Tensor,
    w: Tensor,
    f: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> Tensor:
    """`down(f * (w * pad(up(x))))` in the cheapest order that gives the same numbers.

    Args:
        x: `[N, C_in, H, W]`.
        w: `[C_out, C_in / groups, kh, kw]` in x's dtype.
        f: low-pass filter from `setup_filter`; None for none.
        up, down: integer factors >= 1.
        padding: pixels at the up-sampled size, beyond what keeps the filter centred.
        flip_weight: True correlates (as torch does), False convolves.
        flip_filter: the same for `f`, False convolving.

    Returns `[N, C_out, H', W']`.
    """
    kernel = w.shape[2]
    sides = list(parse_padding(padding))
    if up > 1:
        sides = centred_padding(sides, filter_size(f), up=up)
    if down > 1:
        sides = centred_padding(sides, filter_size(f), down=down)

    if up == 1 and down == 1:
        return _conv2d(x, w, sides, 1, groups, flip_weight)
    if up == 1 and kernel == w.shape[3] == 1:  # filter only the pixels that stay
        x = upfirdn2d(x, f, down=down, padding=sides, flip_filter=flip_filter)
        return _conv2d(x, w, [0] * 4, 1, groups, flip_weight)
    if up == 1:
        x = upfirdn2d(x, f, padding=sides, flip_filter=flip_filter)
        return _conv2d(x, w, [0] * 4, down, groups, flip_weight)
    if kernel == w.shape[3] == 1:  # convolve before there are more pixels
        x = _conv2d(x, w, [0] * 4, 1, groups, flip_weight)
        return upfirdn2d(x, f, up=up, down=down, padding=sides, flip_filter=flip_filter, gain=up**2)
    x, sides = _conv_transpose2d(x, w, up, sides, groups, flip_weight)
    return upfirdn2d(x, f, down=down, padding=sides, flip_filter=flip_filter, gain=up**2)


def _conv2d(
    x: Tensor, w: Tensor, sides: list[int], stride: int, groups: int, flip_weight: bool
) -> Tensor:
    if not flip_weight:
        w = w.flip([2, 3])
    pointwise = w.shape[2] == w.shape[3] == stride == groups == 1 and not any(sides)
    if pointwise and x.device.type == "cpu" and min(w.shape[:2]) <= _NARROW:
        # Channels last whatever x is: grey images do not say which layout they have.
        return F.linear(x.permute(0, 2, 3, 1), w[:, :, 0, 0]).permute(0, 3, 1, 2)
    x0, x1, y0, y1 = sides
    if x0 == x1 >= 0 and y0 == y1 >= 0:
        return F.conv2d(x, w, stride=stride, padding=(y0, x0), groups=groups)
    return F.conv2d(F.pad(x, sides), w, stride=stride, groups=groups)


def _conv_transpose2d(
    x: Tensor, w: Tensor, up: int, sides: list[int], groups: int, flip_weight: bool
) -> tuple[Tensor, list[int]]:
    """Up-sample and convolve at once; also the padding that then remains to be done.

    A transposed convolution of stride `up` is the convolution of the zero-interleaved image with
    `kernel - 1` pixels of padding before it and `kernel - up` after it.
    """
    c_out, c_in_group, kh, kw = w.shape
    if flip_weight:
        w = w.flip([2, 3])
    if groups == 1:
        w = w.transpose(0, 1)
    else:
        w = w.reshape(groups, c_out // groups, c_in_group, kh, kw).transpose(1, 2)
        w = w.reshape(groups * c_in_group, c_out // groups, kh, kw)
    x0, x1, y0, y1 = sides
    x0, x1, y0, y1 = x0 - (kw - 1), x1 - (kw - up), y0 - (kh - 1), y1 - (kh - up)
    crop_x = max(min(-x0, -x1), 0)
    crop_y = max(min(-y0, -y1), 0)
    x = F.conv_transpose2d(x, w, stride=up, padding=(crop_y, crop_x), groups=groups)
    return x, [x0 + crop_x, x1 + crop_x, y0 + crop_y, y1 + crop_y]
