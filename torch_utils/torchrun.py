"""Processes that torchrun started, on this machine and on others."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn, TypeVarTuple

import torch
import torch.distributed as dist

from dnnlib.cli import EXIT_FAILED, told_in_a_line
from dnnlib.logs import logger
from torch_utils.spawn import DEFAULT_TIMEOUT, check_size, run_processes
from torch_utils.world import World, choose_device

Args = TypeVarTuple("Args")

_SETTLE_SECONDS = 2.0  # in which torchrun ends those who fail after the first one


def started_by_torchrun() -> bool:
    """Whether this process is one of those that `torchrun` started."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"))


def run_in_world(
    target: Callable[[World, *Args], int], gpus: int, device: str, args: tuple[*Args]
) -> int:
    """Call `target(world, *args)` where the processes are: torchrun's, or `gpus` of our own.

    `device` is 'auto', 'cuda', 'cpu' or 'mps'. See `torch_utils.spawn.run_processes`; what fails
    under torchrun ends its process here instead of raising.
    """
    if not started_by_torchrun():
        return run_processes(target, gpus, device, args)
    rank = int(os.environ["RANK"])
    if rank > 0:
        logger.setLevel(logging.ERROR)
    try:
        result = target(_join(rank, device, DEFAULT_TIMEOUT), *args)
        dist.destroy_process_group()
        return result
    except BaseException as error:
        _end(error, rank)


def _end(error: BaseException, rank: int) -> NoReturn:
    """Tell what went wrong and end this process at once: a goodbye would wait for the others.

    torchrun then ends these. Meanwhile they keep quiet, since most often they tell the same, or
    that this one is gone.
    """
    if isinstance(error, SystemExit):
        text, status = "", EXIT_FAILED if isinstance(error.code, str) else error.code or 0
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        told = told_in_a_line(error)
        if told is None or rank > 0:
            time.sleep(_SETTLE_SECONDS)
        whole = "".join(traceback.format_exception(error))
        text, status = (whole, EXIT_FAILED) if told is None else (f"{told[0]}\n", told[1])
    sys.stderr.write(text)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _join(rank: int, device: str, timeout: timedelta) -> World:
    kind = choose_device(device)
    size, local_rank = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", local_rank + 1))  # processes of this machine
    check_size(beside, kind, "--nproc-per-node")
    if kind.type == "cuda":
        kind = torch.device("cuda", local_rank)
        torch.cuda.set_device(kind)
    backend = "cpu:gloo,cuda:nccl" if kind.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timeout)
    return World(kind, rank, size)
