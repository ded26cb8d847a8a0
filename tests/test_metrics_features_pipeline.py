"""Batches made ahead come in order, with their errors, and never too many of them."""

import threading

import pytest

from metrics.pipeline import ahead


def test_items_come_in_order_from_another_thread():
    threads = set()

    def items():
        for number in range(20):
            threads.add(threading.get_ident())
            yield number

    assert list(ahead(items())) == list(range(20))
    assert len(threads) == 1 and threading.get_ident() not in threads
    assert list(ahead([])) == []
    assert list(ahead([None, False])) == [None, False]


@pytest.mark.parametrize("depth", [1, 3])
def test_the_thread_is_ahead_by_depth_and_no_more(depth):
    made = threading.Semaphore(0)
    count = 0

    def items():
        nonlocal count
        while True:
            count += 1
            made.release()
            yield count

    source = ahead(items(), depth)
    assert next(source) == 1
    for _ in range(depth + 1):
        assert made.acquire(timeout=10)
    assert not made.acquire(timeout=0.05)
    assert count == depth + 1
    source.close()


def test_the_consumer_works_while_the_next_item_is_made():
    """Neither would go on alone: the second item waits for the consumer of the first."""
    busy = threading.Event()

    def items():
        yield 1
        assert busy.wait(10)
        yield 2

    source = ahead(items())
    assert next(source) == 1
    busy.set()
    assert list(source) == [2]


def test_errors_come_where_it_is_their_turn():
    def items():
        yield from (1, 2)
        raise OSError("a broken picture")

    source = ahead(items())
    assert [next(source), next(source)] == [1, 2]
    with pytest.raises(OSError, match="a broken picture"):
        next(source)
    assert list(source) == []


def test_a_consumer_that_stops_closes_the_source_and_the_thread():
    closed = []

    def items():
        try:
            yield from range(100)
        finally:
            closed.append(threading.get_ident())

    before = threading.active_count()
    for number in ahead(items()):
        if number == 3:
            break
    assert len(closed) == 1
    assert threading.active_count() == before
