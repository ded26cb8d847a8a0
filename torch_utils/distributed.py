"""What processes that compute together tell each other; a single process talks to nobody.

CPU tensors travel by gloo and CUDA tensors by NCCL, through the default process group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from dnnlib import RunError
from torch_utils.world import World

T = TypeVar("T")


def sum_(tensor: Tensor, world: World) -> None:
    """Sum over all processes, in place; of any shape, the same in all of them."""
    if world.size > 1:
        dist.all_reduce(tensor)


def average_flat(tensors: Sequence[Tensor], world: World) -> Tensor:
    """Mean over all processes of float32 tensors of any shapes, laid end to end, `[elements]`.

    One all-reduce for all.
    """
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    sum_(flat, world)
    return flat if world.size == 1 else flat.div_(world.size)


def copy_flat_(tensors: Sequence[Tensor], flat: Tensor) -> None:
    """Fill `tensors` with what `average_flat` made of them: `flat` `[elements]`."""
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    shaped = [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
    torch._foreach_copy_(list(tensors), shaped)


def agree(flag: bool, world: World) -> bool:
    """Whether any process says so. Hosts wait for each other, devices go on."""
    if world.size == 1:
        return flag
    votes = torch.tensor(int(flag))
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return bool(votes)


def together(make: Callable[[], T], world: World) -> T:
    """What `make` returns; where it fails in one process all raise, so that none waits for it.

    That one raises its own error, the others `RunError` with the words of the first that failed.
    `make` does not wait for other processes itself.
    """
    if world.size == 1:
        return make()
    made: T | None = None
    failure: Exception | None = None
    words = b""
    try:
        made = make()
    except Exception as error:  # whatever it is, the others must learn of it
        failure, words = error, f"{type(error).__name__}: {error}".encode(errors="replace")
    failed = torch.tensor(world.size if failure is None else world.rank)
    dist.all_reduce(failed, op=dist.ReduceOp.MIN)
    first = int(failed)
    if first == world.size:
        return cast(T, made)
    reason = broadcast_bytes(words, world, first).decode()
    raise failure or RunError(f"process {first} of {world.size} failed ({reason})")


def from_first(text: str, world: World) -> str:
    """The text that the first process gives."""
    return broadcast_bytes(text.encode() if world.rank == 0 else b"", world).decode()


def broadcast_bytes(data: bytes, world: World, source: int = 0) -> bytes:
    """The bytes that process `source` gives; those of others are ignored."""
    if world.size == 1:
        return data
    length = torch.tensor(len(data))
    dist.broadcast(length, source)
    buffer = torch.empty(int(length), dtype=torch.uint8)
    if world.rank == source and data:
        buffer.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    if len(buffer):
        dist.broadcast(buffer, source)
    return buffer.numpy().tobytes()


def barrier(world: World) -> None:
    """Wait until every process is here."""
    agree(False, world)


def check_equal(tensors: Mapping[str, Tensor], world: World) -> None:
    """Raise `RunError` on every process, naming a tensor, unless all hold the same bits."""
    if world.size == 1:
        return
    ours = torch.stack([_bit_sum(tensor) for tensor in tensors.values()]).cpu()
    lowest, highest = ours.clone(), ours.clone()
    dist.all_reduce(lowest, op=dist.ReduceOp.MIN)
    dist.all_reduce(highest, op=dist.ReduceOp.MAX)
    apart = (lowest != highest).nonzero().flatten().tolist()
    if apart:
        name = list(tensors)[apart[0]]
        raise RunError(
            f"the processes no longer agree: {name} differs, and {len(apart) - 1} more tensors; "
            "continue from the last checkpoint, and if it comes back look for a faulty device"
        )


def _bit_sum(tensor: Tensor) -> Tensor:
    """int64 scalar that is different, almost surely, when any bit is."""
    kind = torch.int32 if tensor.element_size() % 4 == 0 else torch.uint8
    return tensor.detach().contiguous().reshape(-1).view(kind).sum(dtype=torch.int64)
