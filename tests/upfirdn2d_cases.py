"""Calls of upfirdn2d that between them take every kernel, for the host, the compiler and a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torch_utils.ops.upfirdn2d_geometry import Axis

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 2e-6, torch.float64: 1e-14}


@dataclass(frozen=True)
class Case:
    """Shapes and factors; `kernel` and `kernel_last` are what contiguous and channels-last take."""

    shape: tuple[int, int, int, int]
    taps: tuple[int, ...]  # () for no filter
    axis_x: Axis
    axis_y: Axis
    kernel: str
    kernel_last: str = "general"

    def __str__(self) -> str:
        return f"{self.kernel}-{self.shape}-{self.taps}-{tuple(self.axis_x)}-{tuple(self.axis_y)}"


def square(
    shape: tuple[int, int, int, int],
    taps: tuple[int, ...],
    factors: tuple[int, int],
    before: int,
    after: int,
    kernel: str,
    kernel_last: str = "general",
) -> Case:
    """A case with the same (up, down) along both axes, paddings exchanged along y."""
    return Case(
        shape,
        taps,
        Axis(*factors, before, after),
        Axis(*factors, after, before),
        kernel,
        kernel_last,
    )


BLUR, UP, DOWN = (1, 1), (2, 1), (1, 2)
# The trailing numbers of a kernel's name: up, down, taps, then the tile or the outputs of a thread.
BLUR_LAST, UP_LAST, DOWN_LAST = (
    "channels_last<T, 1, 1, 4, 1, 8>",
    "channels_last<T, 2, 1, 4, 2, 4>",
    "channels_last<T, 1, 2, 4, 1, 4>",
)
COMMON = [
    # The blur after a transposed convolution gives even sizes, before a strided one odd ones.
    square((1, 8, 69, 73), (4, 4), BLUR, 1, 1, "tile<T, 1, 1, 4, 64, 4, 8>", BLUR_LAST),
    square((1, 8, 66, 72), (4, 4), BLUR, 2, 2, "tile<T, 1, 1, 4, 64, 1, 32>", BLUR_LAST),
    square((2, 16, 33, 33), (4, 4), BLUR, 1, 1, "tile<T, 1, 1, 4, 32, 4, 4>", BLUR_LAST),
    square((2, 16, 20, 24), (4, 4), BLUR, 2, 2, "tile<T, 1, 1, 4, 32, 1, 16>", BLUR_LAST),
    square((3, 24, 9, 9), (4, 4), BLUR, 1, 1, "tile<T, 1, 1, 4, 16, 4, 2>", BLUR_LAST),
    square((3, 8, 4, 4), (4, 4), BLUR, 2, 2, "tile<T, 1, 1, 4, 16, 1, 8>", BLUR_LAST),
    square((1, 72, 5, 40), (4, 4), BLUR, 1, 2, "tile<T, 1, 1, 4, 64, 4, 8>", BLUR_LAST),
    square((1, 8, 35, 34), (4, 4), UP, 2, 1, "tile<T, 2, 1, 4, 64, 4, 8>", UP_LAST),
    square((1, 8, 34, 33), (4, 4), UP, 1, 2, "tile<T, 2, 1, 4, 64, 2, 16>", UP_LAST),
    square((2, 16, 16, 16), (4, 4), UP, 2, 1, "tile<T, 2, 1, 4, 32, 4, 4>", UP_LAST),
    square((2, 16, 4, 8), (4, 4), UP, 2, 1, "tile<T, 2, 1, 4, 16, 4, 2>", UP_LAST),
    square((1, 8, 70, 66), (4, 4), DOWN, 1, 1, "tile<T, 1, 2, 4, 32, 1, 8>", DOWN_LAST),
    square((2, 16, 32, 32), (4, 4), DOWN, 1, 1, "tile<T, 1, 2, 4, 16, 1, 4>", DOWN_LAST),
    square((2, 24, 16, 9), (4, 4), DOWN, 1, 1, "tile<T, 1, 2, 4, 8, 1, 2>", DOWN_LAST),
]
SEPARABLE = [
    square((1, 3, 69, 41), (12,), BLUR, 6, 5, "separable<T, 1, 1, 12, ", "general"),
    square((1, 3, 24, 33), (12,), UP, 6, 5, "separable<T, 2, 1, 12, ", "general"),
    square((1, 3, 24, 31), (12,), UP, 7, 4, "separable<T, 2, 1, 12, ", "general"),
    square((1, 3, 70, 70), (12,), DOWN, 5, 5, "separable<T, 1, 2, 12, ", "general"),
    square((2, 2, 6, 7), (32,), BLUR, 20, 13, "separable<T, 1, 1, 32, 16, 8>", "general"),
    square((1, 1, 40, 40), (32,), (1, 4), 14, 14, "separable<T, 1, 4, 32, ", "general"),
    square((1, 1, 9, 9), (7,), (4, 1), 3, 1, "separable<T, 4, 1, 7, ", "general"),
]
OTHERS = [
    square((2, 8, 13, 18), (4,), BLUR, 1, 2, "tile<T, 1, 1, 4, ", "channels_last<T, 1, 1, 4, "),
    square((2, 8, 13, 18), (3, 3), UP, 0, 2, "tile<T, 2, 1, 3, ", "channels_last<T, 2, 1, 3, "),
    square((2, 8, 13, 18), (2, 2), DOWN, 0, 0, "tile<T, 1, 2, 2, ", "channels_last<T, 1, 2, 2, "),
    square((2, 8, 5, 6), (), UP, 3, 0, "tile<T, 2, 1, 1, ", "channels_last<T, 2, 1, 1, "),
    square((2, 8, 15, 14), (4, 4), BLUR, -3, 2, "tile<T, 1, 1, 4, ", "channels_last<T, 1, 1, 4, "),
    square((2, 8, 15, 14), (4, 4), DOWN, -5, -1, "tile<T, 1, 2, 4, ", "channels_last<T, 1, 2, 4, "),
    square((2, 8, 5, 4), (4, 4), UP, 40, -3, "tile<T, 2, 1, 4, ", "channels_last<T, 2, 1, 4, "),
    square((2, 3, 9, 9), (4, 4), BLUR, 1, 2, "tile<T, 1, 1, 4, "),  # channels fill no vector
    square((2, 3, 9, 9), (6,), (3, 1), 1, 2, "general"),
    square((2, 3, 9, 9), (33,), BLUR, 16, 16, "general"),
    square((1, 2, 12, 11), (32, 32), BLUR, 16, 15, "general"),
    square((1, 2, 12, 11), (4, 4), (2, 2), 1, 2, "general"),
    Case((2, 3, 9, 12), (5, 7), Axis(3, 2, 4, -1), Axis(1, 4, -2, 9), "general"),
    Case((2, 3, 9, 12), (4,), Axis(2, 1, 1, 1), Axis(1, 1, 2, 2), "general"),
    Case((2, 3, 0, 5), (4, 4), Axis(1, 1, 2, 2), Axis(1, 1, 3, 3), "tile<T, 1, 1, 4, "),
    square((1, 2, 90, 99), (3,), (1, 4), 3, 1, "general"),  # pixels that no tap meets
]


def random_inputs(
    case: Case, dtype: torch.dtype, layout: torch.memory_format
) -> tuple[Tensor, Tensor | None]:
    """Normal pixels and taps."""
    x = torch.randn(case.shape).to(dtype).contiguous(memory_format=layout)
    f = torch.randn(case.taps).to(torch.promote_types(dtype, torch.float32)) if case.taps else None
    return x, f


def assert_near(actual: Tensor, target: Tensor, factor: float = 1) -> None:
    """The error is within `factor` times the tolerance of the dtype; `target` is in float64."""
    assert actual.shape == target.shape
    error = (actual.double() - target).norm() / target.norm().clamp(min=1e-30)
    assert error <= factor * TOLERANCE[actual.dtype], float(error)
