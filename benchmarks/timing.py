"""Seconds that work takes on a device, and how fast its memory is copied."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

Work = Callable[[], object]

_COLD_BYTES = 2**30  # written before each run on a GPU: far more than its cache holds
_FEWEST, _MOST = 5, 100  # runs


class Timer:
    """Median seconds of work that runs again and again for about `budget` seconds.

    On a GPU the time between two events of the stream, with a cold cache: a large write goes
    before each run. While it lasts, the host submits the work, so that what is timed is the device
    and not Python. On a CPU the time of a clock, caches as the run before left them.
    """

    def __init__(self, device: torch.device, budget: float) -> None:
        self.device, self.budget = device, budget
        on_gpu = device.type == "cuda"
        self._cold = torch.empty(_COLD_BYTES if on_gpu else 0, dtype=torch.uint8, device=device)

    def __call__(self, work: Work) -> float:
        for _ in range(2):
            work()
        return self._on_gpu(work) if self.device.type == "cuda" else self._on_cpu(work)

    def _on_gpu(self, work: Work) -> float:
        once = max(self._events(work, 1)[0], 1e-6)
        runs = min(max(int(self.budget / once), _FEWEST), _MOST)
        return statistics.median(self._events(work, runs))

    def _events(self, work: Work, runs: int) -> list[float]:
        pairs = [(_event(), _event()) for _ in range(runs)]
        with torch.cuda.device(self.device):
            for start, end in pairs:
                self._cold.zero_()
                start.record()
                work()
                end.record()
            torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1000 for start, end in pairs]

    def _on_cpu(self, work: Work) -> float:
        times: list[float] = []
        while len(times) < _FEWEST or (sum(times) < self.budget and len(times) < _MOST):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        return statistics.median(times)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def copy_bandwidth(timer: Timer, size: int) -> float:
    """Bytes a second, read and written together, of a copy of `size` bytes of random numbers."""
    source = torch.randn(size // 4, device=timer.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / timer(lambda: target.copy_(source))
