"""The record of a step's convolutions, which the benchmark runs again alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks.convolutions import ConvolutionRecord


def test_convolutions_of_every_layout_run_again() -> None:
    x = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    shared = torch.randn(1, 1, 3, 3).expand(4, 1, 3, 3)  # strides 0, as of the resampling filter
    weight = torch.randn(5, 4, 3, 3, requires_grad=True)
    with ConvolutionRecord() as record:
        y = F.conv2d(F.conv2d(x, shared, groups=4), weight)
        torch.autograd.grad(y.sum(), [x, weight])
    assert record.count == 4

    def run(work: Callable[[], object]) -> float:
        work()
        return 1.0

    assert record.alone(run) == 4
