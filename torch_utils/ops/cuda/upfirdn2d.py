"""Which kernel of upfirdn2d.cu suits a call, and its launch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from torch_utils.ops.cuda.bias_act import memory_format
from torch_utils.ops.cuda.jit import CPP_TYPES, Launch, launch
from torch_utils.ops.filters import filter_size
from torch_utils.ops.upfirdn2d_geometry import IDENTITY, Axis

_SOURCE = "upfirdn2d.cu"
_SMALL_TAPS = 4  # a side, up to which whole windows are computed in registers
_LONG_TAPS = 32  # up to which a 1-D filter is unrolled
_SHARED_BYTES = 48 * 1024  # of a block, on every architecture
_VECTOR_BYTES = 16
_MAX_GRID = (2**31, 2**16, 2**16)  # exclusive


class Params(ctypes.Structure):
    """`UpfirdnParams` of upfirdn2d.cuh."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("f", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
        ("gain", ctypes.c_double),
        ("images", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("in_w", ctypes.c_int),
        ("in_h", ctypes.c_int),
        ("out_w", ctypes.c_int),
        ("out_h", ctypes.c_int),
        ("up_x", ctypes.c_int),
        ("up_y", ctypes.c_int),
        ("down_x", ctypes.c_int),
        ("down_y", ctypes.c_int),
        ("before_x", ctypes.c_int),
        ("before_y", ctypes.c_int),
        ("taps_x", ctypes.c_int),
        ("taps_y", ctypes.c_int),
        ("first_x", ctypes.c_int),
        ("first_y", ctypes.c_int),
        ("separable", ctypes.c_int),
        ("flip", ctypes.c_int),
        ("channels_last", ctypes.c_int),
    )


@dataclass(frozen=True)
class Call:
    """One upfirdn2d: `y` is to be filled, and has the dtype and the layout of `x`.

    `f` is contiguous, in float32 or, for a float64 `x`, in float64.
    """

    y: Tensor
    x: Tensor
    f: Tensor | None
    axis_x: Axis
    axis_y: Axis
    flip_filter: bool
    gain: float


class Kernel(NamedTuple):
    """A kernel's C++ name and the shape of its launch."""

    name: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    axis_x: Axis,
    axis_y: Axis,
    flip_filter: bool,
    gain: float,
    run: Callable[[Launch, torch.device], None] = launch,
) -> Tensor:
    """The result for a tensor on a GPU, in the layout of `x`; `run` executes launches.

    A 1-D filter that no kernel applies in one pass takes two, along x and then along y.
    """
    layout = memory_format(x, 1)
    x = x.contiguous(memory_format=layout)
    if f is not None:
        if f.device != x.device:
            raise ValueError(f"f: on the device of x, {x.device}, found {f.device}")
        f = f.to(torch.promote_types(x.dtype, torch.float32)).contiguous()
    taps_x, taps_y = filter_size(f)
    size = (axis_y.output_size(x.shape[2], taps_y), axis_x.output_size(x.shape[3], taps_x))
    y = torch.empty((*x.shape[:2], *size), dtype=x.dtype, device=x.device, memory_format=layout)
    if y.numel() == 0:
        return y
    call = Call(y, x, f, axis_x, axis_y, flip_filter, gain)
    kernel = specialised(call)
    if kernel is None and f is not None and f.ndim == 1:
        x = upfirdn2d(x, f[None, :], axis_x, IDENTITY, flip_filter, 1.0, run)
        y = upfirdn2d(x, f[:, None], IDENTITY, axis_y, flip_filter, gain, run)
        return y.contiguous(memory_format=layout)
    run(plan(call, kernel or general(call)), x.device)
    return y


def plan(call: Call, kernel: Kernel) -> Launch:
    """The launch of `kernel`, one that `specialised` or `general` chose for `call`."""
    x, y, f, axis_x, axis_y = call.x, call.y, call.f, call.axis_x, call.axis_y
    taps_x, taps_y = filter_size(f)
    if any(
        size * axis.up + abs(axis.before) + abs(axis.after) + taps >= 2**31
        for size, axis, taps in ((x.shape[3], axis_x, taps_x), (x.shape[2], axis_y, taps_y))
    ):
        raise ValueError(f"x: fewer than 2^31 pixels a side with padding, found {list(x.shape)}")
    params = Params(
        x=x.data_ptr(),
        f=None if f is None else f.data_ptr(),
        y=y.data_ptr(),
        gain=call.gain,
        images=x.shape[0],
        channels=x.shape[1],
        in_w=x.shape[3],
        in_h=x.shape[2],
        out_w=y.shape[3],
        out_h=y.shape[2],
        up_x=axis_x.up,
        up_y=axis_y.up,
        down_x=axis_x.down,
        down_y=axis_y.down,
        before_x=axis_x.before,
        before_y=axis_y.before,
        taps_x=taps_x,
        taps_y=taps_y,
        first_x=_first(axis_x),
        first_y=_first(axis_y),
        separable=f is not None and f.ndim == 1,
        flip=call.flip_filter,
        channels_last=memory_format(x, 1) is torch.channels_last,
    )
    return Launch(_SOURCE, kernel.name, kernel.grid, kernel.block, params)


def specialised(call: Call) -> Kernel | None:
    """The kernel made for a call's factors and taps; None where there is none.

    Those factors are the same along both axes, and one of them is 1.
    """
    (up, down), (taps, taps_y) = call.axis_x[:2], filter_size(call.f)
    if call.axis_y[:2] != (up, down) or min(up, down) > 1 or taps != taps_y:
        return None
    kernel = None
    if max(up, down) <= 2 and taps <= _SMALL_TAPS:
        channels_last = memory_format(call.x, 1) is torch.channels_last
        kernel = (_channels_last if channels_last else _tile)(call, up, down, taps)
    elif call.f is not None and call.f.ndim == 1 and call.x.is_contiguous():
        kernel = _separable(call, up, down, taps)
    fits = kernel is not None and all(
        size < limit for size, limit in zip(kernel.grid, _MAX_GRID, strict=True)
    )
    return kernel if fits else None


def general(call: Call) -> Kernel:
    """The kernel for any call with a 2-D filter."""
    blocks = _ceil_div(call.y.numel(), 256)
    small = max(call.x.numel(), blocks * 256) < 2**31
    index = "int" if small else "long long"
    name = f"upfirdn2d_general<{CPP_TYPES[call.x.dtype]}, {index}>"
    return Kernel(name, (blocks, 1, 1), (256, 1, 1))


def _tile(call: Call, up: int, down: int, taps: int) -> Kernel:
    """Contiguous images: tiles of 64, 32 or 16 pixels a side of the larger image."""
    y = call.y
    tile = 64 // down
    while tile * down > 16 and tile // 2 >= max(y.shape[2:]):
        tile //= 2
    threads = 2 * tile * down
    aligned = y.shape[3] % 4 == 0 and y.data_ptr() % (4 * y.element_size()) == 0
    # Four outputs at once where vectors can hold them; otherwise neighbours write neighbours.
    width = up if down > 1 or not aligned or _first(call.axis_x) < 0 else 4
    height = tile * tile // (threads * width)
    shape = f"{up}, {down}, {taps}, {tile}, {width}, {height}"
    name = f"upfirdn2d_tile<{CPP_TYPES[y.dtype]}, {shape}>"
    return Kernel(name, (_tiles(call, tile), 1, 1), (threads, 1, 1))


def _channels_last(call: Call, up: int, down: int, taps: int) -> Kernel | None:
    """Vectors of channels: blocks of up to 32 columns, and of 128 bytes of channels or more."""
    x, y = call.x, call.y
    lanes = _VECTOR_BYTES // x.element_size()
    if x.shape[1] % lanes or x.data_ptr() % _VECTOR_BYTES or y.data_ptr() % _VECTOR_BYTES:
        return None
    width, height = up, 8 // max(up, down)
    vectors = x.shape[1] // lanes
    columns = _ceil_div(y.shape[3] - _first(call.axis_x), width)
    rows = _ceil_div(y.shape[2] - _first(call.axis_y), height)
    blocks_x = _ceil_div(columns, 32)
    block_columns = _ceil_div(columns, blocks_x)
    block_vectors = min(vectors, 256 // block_columns // 8 * 8)
    name = f"upfirdn2d_channels_last<{CPP_TYPES[x.dtype]}, {up}, {down}, {taps}, {width}, {height}>"
    grid = (_ceil_div(vectors, block_vectors) * blocks_x, rows, x.shape[0])
    return Kernel(name, grid, (block_vectors, block_columns, 1))


def _separable(call: Call, up: int, down: int, taps: int) -> Kernel | None:
    """The largest tile that shared memory holds, but none much larger than the image.

    A tile has `down` columns for each output, which the taps must reach.
    """
    if max(up, down) not in (1, 2, 4) or not down <= taps <= _LONG_TAPS:
        return None
    largest = max(call.y.shape[2:])
    capacity = _SHARED_BYTES // max(call.x.element_size(), 4)
    for tile in (64, 32, 16, 8):
        small_enough = tile == 8 or tile // 2 < largest
        if small_enough and _separable_elements(tile, up, down, taps) <= capacity:
            shape = f"{up}, {down}, {taps}, {tile}, 8"
            name = f"upfirdn2d_separable<{CPP_TYPES[call.x.dtype]}, {shape}>"
            return Kernel(name, (_tiles(call, tile), 1, 1), (256, 1, 1))
    return None


def _separable_elements(tile: int, up: int, down: int, taps: int) -> int:
    """Elements of shared memory that `upfirdn2d_separable` takes: an `InputTile`, and lines."""
    size = ((tile - 1) * down + taps - 1) // up + 1
    rows = 256 // (tile * down // up)
    steps = _ceil_div(size, rows)
    batches = _ceil_div(steps, 18)
    loaded = batches * _ceil_div(steps, batches) * rows
    return loaded * (size | 1) + size * (tile | 1)


def _tiles(call: Call, tile: int) -> int:
    """Square tiles of outputs that cover all planes, the first of which begins on a pixel."""
    planes, (height, width) = call.y.shape[0] * call.y.shape[1], call.y.shape[2:]
    tiles_x = _ceil_div(width - _first(call.axis_x), tile)
    return planes * tiles_x * _ceil_div(height - _first(call.axis_y), tile)


def _first(axis: Axis) -> int:
    """The last output at or before 0 that begins on a pixel, where `up` or `down` is 1."""
    return -(-axis.before % axis.up)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
