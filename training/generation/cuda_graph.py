"""A function of tensors as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UPS = 3  # calls before the capture, in which libraries choose their kernels


class GraphedFunction:
    """`function` captured once and replayed: the host launches all its kernels as one.

    `example` are inputs on a CUDA device; all others must have their shapes. `function` must not
    wait for the device, and needs no gradients.
    """

    @torch.no_grad()
    def __init__(self, function: Callable[..., Tensor], *example: Tensor) -> None:
        self._inputs = [tensor.clone() for tensor in example]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may call CUDA meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """What `function` returns of `inputs`."""
        for static, given in zip(self._inputs, inputs, strict=True):
            static.copy_(given)
        self._graph.replay()
        return self._output.clone()
