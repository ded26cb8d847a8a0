"""Work spread over threads or processes, results in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Self, TypeVar

from dnnlib import RunError

T = TypeVar("T")
R = TypeVar("R")

# Forked workers start in milliseconds and share what the parent has read. Elsewhere than on Linux
# system libraries do not survive a fork.
if sys.platform == "linux":
    _CONTEXT = multiprocessing.get_context("fork")
else:
    _CONTEXT = multiprocessing.get_context("spawn")
_AHEAD = 4  # batches a worker may be ahead of the consumer, so that memory stays bounded
_QUEUED = 2  # batches a worker has: one that it works on, one that follows without a pause


def cpu_count() -> int:
    """Processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`map` by `workers` threads, which run a few items ahead of the consumer and no more.

    For work that happens outside Python's lock, such as reading and decoding images.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    ahead: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > 4 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class WorkerDiedError(RunError):
    """A process ended in the middle of `items`, killed by the system or by a crashing decoder."""

    def __init__(self, items: Sequence[Any]) -> None:
        super().__init__("a worker process died, most often because memory ran out")
        self.items = items


class Workers(Generic[T, R]):
    """Processes that apply one function; one worker is this process itself.

    The function travels to each process once, items and results with each batch. A worker whose
    parent is gone, even by kill -9, ends too. To be started before threads are, and used in a
    `with` statement.
    """

    def __init__(self, function: Callable[[T], R], count: int) -> None:
        self._function = function
        self._links: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for _ in range(count if count > 1 else 0):
            ours, theirs = _CONTEXT.Pipe()
            process = _CONTEXT.Process(target=_serve, args=(function, theirs, ours), daemon=True)
            process.start()
            theirs.close()
            self._links.append(ours)
            self._processes.append(process)

    def map(self, items: Sequence[T], batch_size: int) -> Iterator[list[R]]:
        """Results of `items` in order, in lists of up to `batch_size`; the last may be shorter.

        Raises what the function raises, and `WorkerDiedError`.
        """
        batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
        if not self._links:
            for batch in batches:
                yield [self._function(item) for item in batch]
            return
        results: dict[int, list[R] | BaseException] = {}
        queues: dict[Connection, deque[int]] = {link: deque() for link in self._links}
        sent = 0
        for number in range(len(batches)):
            while number not in results:
                limit = min(len(batches), number + _AHEAD * len(queues))
                sent = _send(batches, sent, limit, queues)
                for link in wait([link for link, queue in queues.items() if queue]):
                    assert isinstance(link, Connection)
                    received = queues[link].popleft()
                    results[received] = _receive(link, batches[received])
            result = results.pop(number)
            if isinstance(result, BaseException):
                raise result
            yield result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for link in self._links:
            link.close()
        for process in self._processes:
            process.terminate()
            process.join()


def _send(
    batches: Sequence[Sequence[T]], sent: int, limit: int, queues: dict[Connection, deque[int]]
) -> int:
    """Hand batches from number `sent` to `limit` to idle workers; the number that is next then."""
    for depth in range(_QUEUED):
        for link, queue in queues.items():
            if len(queue) <= depth and sent < limit:
                with suppress(OSError):  # a dead worker is noticed where its result is missing
                    link.send(batches[sent])
                queue.append(sent)
                sent += 1
    return sent


def _receive(link: Connection, items: Sequence[object]) -> list[R] | BaseException:
    try:
        result: list[R] | BaseException = link.recv()
    except (EOFError, OSError):
        return WorkerDiedError(items)
    return result


def _serve(function: Callable[[T], R], link: Connection, parents: Connection) -> None:
    """Answer batches with lists of results, or with the exception, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides how an interruption ends
    parents.close()
    with suppress(EOFError, OSError):
        while True:
            batch: Sequence[T] = link.recv()
            link.send(_apply(function, batch))


def _apply(function: Callable[[T], R], batch: Sequence[T]) -> list[R] | BaseException:
    try:
        return [function(item) for item in batch]
    except BaseException as error:
        error.add_note(traceback.format_exc())  # a traceback does not travel
        return error
