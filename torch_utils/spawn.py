"""Several processes of this machine that work together: started, followed, and ended together."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any, TypeVarTuple

import torch
import torch.distributed as dist
from tqdm import tqdm

from dnnlib import RunError, UserError
from dnnlib.logs import logger, setup_logging
from torch_utils.world import World, choose_device

Args = TypeVarTuple("Args")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLL_SECONDS = 1.0  # between looks, for those who are killed say nothing
_EXIT_SECONDS = 10.0  # for what a process does after its work, as writing out its files
_SETTLE_SECONDS = 0.5  # until a failure and what it caused elsewhere can be told apart
DEFAULT_TIMEOUT = timedelta(minutes=30)


def run_processes(
    target: Callable[[World, *Args], int],
    size: int,
    device: str,
    args: tuple[*Args],
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> int:
    """Call `target(world, *args)` in `size` processes at once; the result of rank 0.

    Each has a GPU of its own, or its share of the processor's threads, and is in the default group
    of `torch.distributed`: NCCL for CUDA tensors, gloo for others. `device` is 'auto', 'cuda',
    'cpu' or 'mps'; `timeout` is how long a process waits for the others. `target` is a function of
    a module, `args` can be pickled. One process is this one, without a group. Only rank 0 logs.

    The first that fails ends all. Its `UserError` or `RunError` is raised here, any other exception
    as `RunError` below its traceback, and so is a process that was killed. SIGINT and SIGTERM are
    handed on; where they end a process, they end this one as well. Raises `UserError` where there
    are fewer GPUs than `size`.
    """
    assert size >= 1
    kind = choose_device(device)
    if size == 1:
        return target(World(kind), *args)
    check_size(size, kind)
    try:
        with tempfile.TemporaryDirectory(prefix="dudgan-") as folder:
            rendezvous = Path(folder) / "rendezvous"
            return _run(_Job(target, args, size, kind.type, rendezvous, timeout))
    except _InterruptedError as by:
        signal.raise_signal(by.number)  # end as if nobody had been there to hand it on
        raise RunError(f"interrupted by {signal.Signals(by.number).name}") from None


def check_size(size: int, device: torch.device, option: str = "--gpus") -> None:
    """Raise `UserError` where `device` is not there for each of `size` processes on a machine."""
    if device.type == "cuda" and size > (found := torch.cuda.device_count()):
        raise UserError(f"{option} {size}: this machine has {found}; ask for at most {found}")
    if device.type == "mps" and size > 1:
        raise UserError(f"{option} {size}: --device mps is one device; ask for 1")


# What the processes do


@dataclass(frozen=True)
class _Job:
    """What every process is told."""

    target: Callable[..., int]
    args: tuple[Any, ...]
    size: int
    device_type: str
    rendezvous: Path
    timeout: timedelta


@dataclass(frozen=True)
class _End:
    """How a process ended; `error` None: well."""

    result: int = 0
    error: BaseException | None = None
    traceback: str = ""
    at: float = 0.0  # of a clock that all processes share


def _work(rank: int, job: _Job, reports: Connection) -> None:
    """Carry out `job`; tell `reports` None when it begins, and the `_End`."""
    try:
        _come_up(rank)
        world = _join_group(rank, job)
        reports.send(None)
        _let_signals_through()
        result = job.target(world, *job.args)
        dist.destroy_process_group()
    except BaseException as error:
        # Told before the group falls apart, so that what this causes elsewhere comes later.
        reports.send(_failure(error, rank, job.size))
        os._exit(1)
    reports.send(_End(result))


def _come_up(rank: int) -> None:
    os.setsid()  # the terminal's Ctrl-C reaches the parent alone, which hands it on
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own would stay behind when this process is killed
    setup_logging()
    if rank > 0:
        logger.setLevel(logging.ERROR)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _join_group(rank: int, job: _Job) -> World:
    loopback = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if loopback:  # a host name that leads nowhere is no hindrance
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
    if job.device_type == "cuda":
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    else:
        device = torch.device(job.device_type)
        torch.set_num_threads(max(torch.get_num_threads() // job.size, 1))
        backend = "gloo"
    dist.init_process_group(
        backend,
        init_method=job.rendezvous.as_uri(),
        rank=rank,
        world_size=job.size,
        timeout=job.timeout,
    )
    return World(device, rank, job.size)


def _let_signals_through() -> None:
    """Undo `_signals_blocked`, without what arrived meanwhile."""
    for number in _SIGNALS:
        handler = signal.signal(number, signal.SIG_IGN)
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _failure(error: BaseException, rank: int, size: int) -> _End:
    """`error` as one that can be sent to another process."""
    at = time.monotonic()
    for kind in (UserError, RunError):
        if isinstance(error, kind):
            return _End(error=kind(str(error)), at=at)
    if isinstance(error, KeyboardInterrupt):
        return _End(error=KeyboardInterrupt(), at=at)
    text = f"process {rank} of {size} failed ({type(error).__name__}: {error})"
    return _End(error=RunError(text), traceback=traceback.format_exc(), at=at)


# What their parent does


class _Rank:
    """A process as its parent sees it."""

    def __init__(self, number: int, job: _Job) -> None:
        self.started = False
        self.end: _End | None = None
        self._name = f"process {number} of {job.size}"
        context = multiprocessing.get_context("spawn")
        self.reports, self._told = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(number, job, self._told))

    def start(self) -> None:
        """Begin; it ends by itself or by `stop`."""
        self.process.start()
        self._told.close()  # the other end sees when the process has closed its own

    def stop(self) -> None:
        """End the process now, whatever it does."""
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()

    def look(self) -> None:
        """Take note of what the process has told, or of its silent death."""
        exit_code = self.process.exitcode  # before the last look for a report
        try:
            while self.end is None and self.reports.poll():
                self.end = self.reports.recv()
                self.started = True
        except (EOFError, OSError):  # the exit code follows
            time.sleep(0.01)
        if self.end is None and exit_code is not None:
            how = f"exit status {exit_code}"
            if exit_code < 0:
                how = f"killed by {signal.Signals(-exit_code).name}"
            advice = "if memory ran out, use fewer --gpus or a smaller batch"
            self.end = _End(error=RunError(f"{self._name} died ({how}); {advice}"))


class _InterruptedError(Exception):
    """Processes ended by a signal that was handed on to them."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _run(job: _Job) -> int:
    """Start, follow and end the processes of `job`; the result of rank 0."""
    ranks = [_Rank(number, job) for number in range(job.size)]
    try:
        with _signals_blocked():
            for rank in ranks:
                rank.start()
        result = _follow(ranks)
        for rank in ranks:
            rank.process.join(_EXIT_SECONDS)
        return result
    finally:
        for rank in ranks:
            rank.stop()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes started meanwhile get no signal before they are ready for it."""
    resource_tracker.ensure_running()  # it would unblock them when the first process starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow(ranks: Sequence[_Rank]) -> int:
    """Wait for the end of all; the result of rank 0."""
    while not all(rank.started for rank in ranks):
        _watch(ranks)
    with _handing_on(ranks) as received:
        try:
            while any(rank.end is None for rank in ranks):
                _watch(ranks)
        except UserError:
            raise
        except BaseException:
            if received:
                raise _InterruptedError(received[-1]) from None
            raise
    assert ranks[0].end is not None
    return ranks[0].end.result


def _watch(ranks: Sequence[_Rank]) -> None:
    """Wait for news for a while. Raises the error of a process that has failed."""
    running = [rank for rank in ranks if rank.end is None]
    wait([rank.reports for rank in running], _POLL_SECONDS)
    for rank in running:
        rank.look()
    if _first_failure(ranks) is None:
        return
    time.sleep(_SETTLE_SECONDS)
    for rank in ranks:
        rank.look()
    failure = _first_failure(ranks)
    assert failure is not None and failure.error is not None
    sys.stderr.write(failure.traceback)
    raise failure.error


def _first_failure(ranks: Sequence[_Rank]) -> _End | None:
    """A silent death, whose `at` is 0, comes first: it leads others to fail."""
    failures = [rank.end for rank in ranks if rank.end is not None and rank.end.error is not None]
    return min(failures, key=lambda end: end.at, default=None)


@contextmanager
def _handing_on(ranks: Sequence[_Rank]) -> Iterator[list[int]]:
    """Signals go to all processes that run; those received meanwhile are in the list."""
    received: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for rank in ranks:
            if rank.process.pid is not None and rank.end is None:
                with suppress(ProcessLookupError):
                    os.kill(rank.process.pid, number)

    before = {number: signal.signal(number, hand_on) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
