"""A phase's forward and backward pass: as it stands, or captured as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from torch_utils.stats import Stats
from training.phases import Draw, Phase
from training.players import Players

if TYPE_CHECKING:
    from torch.cuda import _POOL_HANDLE

_WARM_UPS = 3  # passes before a capture, in which libraries choose their kernels


class Backward(Protocol):
    """Gradients of a phase's loss, summed over the micro-batches of a step."""

    def begin(self) -> None:
        """Forget the gradients of the step before."""

    def add(self, draw: Draw) -> None:
        """Add those of a micro-batch."""


class EagerBackward:
    """Operation by operation. `weight` is the share of a micro-batch in the step's loss."""

    def __init__(self, phase: Phase, weight: float, players: Players, stats: Stats) -> None:
        self.phase, self.weight, self.players, self.stats = phase, weight, players, stats

    def begin(self) -> None:
        """See `Backward`."""
        for parameter in self.phase.trained:
            parameter.grad = None

    def add(self, draw: Draw) -> None:
        """See `Backward`."""
        loss = self.phase.loss(draw, self.stats)
        (loss * self.weight).backward()  # type: ignore[no-untyped-call]


class CapturedBackward:
    """The same work as one CUDA graph, captured at the first micro-batch and replayed from then on.

    Replaying spares the host thousands of launches a step. Random numbers, running means and
    statistics come out as without a graph: their tensors stay where they are, and what the capture
    itself moved is put back. Every micro-batch must have the shape of the first.
    """

    def __init__(self, eager: EagerBackward, pool: _POOL_HANDLE) -> None:
        """`pool` is for all phases of a trainer: what one leaves there, the next may overwrite."""
        self.eager, self.pool = eager, pool
        self.inputs: Draw | None = None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.gradients: list[Tensor | None] = []

    def begin(self) -> None:
        """See `Backward`."""
        if self.graph is None:
            self.eager.begin()
            return
        for parameter, gradient in zip(self.eager.phase.trained, self.gradients, strict=True):
            parameter.grad = gradient
        torch._foreach_zero_([gradient for gradient in self.gradients if gradient is not None])

    def add(self, draw: Draw) -> None:
        """See `Backward`."""
        if self.graph is None or self.inputs is None:
            self.inputs = Draw(*(tensor.clone() for tensor in draw.tensors()))
            self.graph = self._capture(self.inputs)
            self.begin()
        for static, given in zip(self.inputs.tensors(), draw.tensors(), strict=True):
            static.copy_(given)
        self.graph.replay()

    def _capture(self, inputs: Draw) -> torch.cuda.CUDAGraph:
        undo = self._remember()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self.eager.begin()
                self.eager.add(inputs)
        torch.cuda.current_stream().wait_stream(side)
        # Parameters that the loss does not reach keep None: the optimiser leaves them alone.
        grads = [parameter.grad for parameter in self.eager.phase.trained]
        self.gradients = [None if grad is None else torch.zeros_like(grad) for grad in grads]
        for parameter, gradient in zip(self.eager.phase.trained, self.gradients, strict=True):
            parameter.grad = gradient
        graph = torch.cuda.CUDAGraph()
        # Threads that load data call CUDA meanwhile.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            self.eager.add(inputs)
        undo()
        return graph

    def _remember(self) -> Callable[[], None]:
        """Take note of all that a pass moves; returns the way back."""
        buffers = list(self.eager.players.buffers())
        saved = [buffer.clone() for buffer in buffers]
        restore_stats = self.eager.stats.remember()
        random_state = torch.cuda.get_rng_state()

        def undo() -> None:
            torch._foreach_copy_(buffers, saved)
            restore_stats()
            torch.cuda.set_rng_state(random_state)

        return undo
