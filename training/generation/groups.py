"""Computation in groups of a fixed size, so that a row's result is the same whatever the batch.

Libraries choose their algorithms, and with them the order of additions, by the shape of a whole
batch: the same row of two batches of different sizes differs in its last bits. In groups of one
size, the last one filled up, it never does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from training.networks.generator import Generator

_CPU_PIXELS, _CPU_LIMIT = 2**14, 16  # beyond these larger groups are hardly faster
_GPU_PIXELS, _GPU_LIMIT = 2**20, 64


def group_size(generator: Generator) -> int:
    """Images that `generator` makes together: by their size and the kind of device alone."""
    on_cpu = generator.mapping.w_avg.device.type == "cpu"
    pixels, limit = (_CPU_PIXELS, _CPU_LIMIT) if on_cpu else (_GPU_PIXELS, _GPU_LIMIT)
    return max(min(pixels // (generator.width * generator.height), limit), 1)


def in_groups(function: Callable[..., Tensor], size: int, *inputs: Tensor) -> Tensor:
    """`function(*inputs)` of rows, `size` of them at a time.

    `inputs` are `[N, ...]`, N at least 1; `function` treats each row by itself. The last group is
    filled up with copies of its first row, whose results are dropped.
    """
    groups = zip(*(torch.split(rows, size) for rows in inputs), strict=True)
    parts = [function(*(_filled(rows, size) for rows in group)) for group in groups]
    return torch.cat(parts)[: len(inputs[0])]


def _filled(rows: Tensor, size: int) -> Tensor:
    """A copy, since where rows begin in memory may decide how libraries go through them."""
    filling = rows[:1].expand(size - len(rows), *rows.shape[1:])
    return torch.cat([rows, filling])
