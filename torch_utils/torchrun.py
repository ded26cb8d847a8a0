"""Processes that torchrun started, on this machine and on others."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVarTuple

import torch
import torch.distributed as dist

from dnnlib.logs import logger
from torch_utils.spawn import DEFAULT_TIMEOUT, run_processes
from torch_utils.world import World, choose_device

Args = TypeVarTuple("Args")


def started_by_torchrun() -> bool:
    """Whether this process is one of those that `torchrun` started."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"))


def run_in_world(
    target: Callable[[World, *Args], int], gpus: int, device: str, args: tuple[*Args]
) -> int:
    """Call `target(world, *args)` where the processes are: torchrun's, or `gpus` of our own.

    `device` is 'auto', 'cuda', 'cpu' or 'mps'. See `torch_utils.spawn.run_processes`.
    """
    if not started_by_torchrun():
        return run_processes(target, gpus, device, args)
    world = _join(device, DEFAULT_TIMEOUT)
    if world.rank > 0:
        logger.setLevel(logging.ERROR)
    try:
        return target(world, *args)
    finally:
        # torchrun ends the others when one fails: no goodbye that would wait for them.
        if dist.is_initialized():
            dist.destroy_process_group()


def _join(device: str, timeout: timedelta) -> World:
    kind = choose_device(device)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if kind.type == "cuda":
        kind = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(kind)
    backend = "cpu:gloo,cuda:nccl" if kind.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timeout)
    return World(kind, rank, size)
