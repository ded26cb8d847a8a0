"""What the convolutions of a training step take by themselves: recorded, then run again alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_CONVOLUTIONS = (
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
)


class _Shape:
    """A tensor argument without its contents."""

    def __init__(self, tensor: Tensor) -> None:
        self.key = (tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, tensor.device)

    def make(self) -> Tensor:
        """A random tensor of this shape, layout and type."""
        shape, stride, dtype, device = self.key
        last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        # Strides may be 0: a filter that all channels share.
        return torch.randn(last + 1, dtype=dtype, device=device).as_strided(shape, stride)


class ConvolutionRecord(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes note of every convolution and its gradients while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: Counter[tuple[Any, ...]] = Counter()
        self._examples: dict[tuple[Any, ...], tuple[Any, tuple[Any, ...]]] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _CONVOLUTIONS:
            shapes = tuple(_Shape(arg) if isinstance(arg, Tensor) else arg for arg in args)
            key = (str(func), repr([getattr(shape, "key", shape) for shape in shapes]))
            self._calls[key] += 1
            self._examples[key] = func, shapes
        return func(*args, **(kwargs or {}))

    @property
    def count(self) -> int:
        """How many convolutions and gradients of convolutions there were."""
        return self._calls.total()

    def alone(self, seconds: Callable[[Callable[[], object]], float]) -> float:
        """Seconds for all of them on random data, each kind measured by `seconds`."""
        total = 0.0
        for key, times in self._calls.items():
            func, shapes = self._examples[key]
            made = [shape.make() if isinstance(shape, _Shape) else shape for shape in shapes]
            total += times * seconds(lambda func=func, made=made: func(*made))  # type: ignore[misc]
        return total
