"""Decoding while features are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], depth: int = 2) -> Generator[T]:
    """Yield `items` in their order, made in a thread, up to `depth` (at least 1) ahead.

    Raises where it is its turn what making an item raises. A consumer that may stop early closes
    it: that waits for the item in the making, and closes `items` if they are a generator.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, "ahead") as worker:
        made = deque(worker.submit(next, iterator, end) for _ in range(depth))
        try:
            while (item := made.popleft().result()) is not end:
                made.append(worker.submit(next, iterator, end))
                yield item  # type: ignore[misc]
        finally:
            for future in made:
                future.cancel()
            if isinstance(iterator, Generator):
                worker.submit(iterator.close).result()
