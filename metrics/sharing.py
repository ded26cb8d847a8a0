"""Images shared out among processes, and what each has made of its own brought together."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from torch_utils.distributed import together
from torch_utils.world import World


def own_share(count: int, batch_size: int, world: World) -> range:
    """Which of `count` images this process takes.

    Whole batches, the same ones that a single process would make, so that the features are too.
    """
    num_batches = -(-count // batch_size)
    first, last = (num_batches * rank // world.size for rank in (world.rank, world.rank + 1))
    return range(first * batch_size, min(last * batch_size, count))


def shared_rows(
    compute: Callable[[range], Tensor], count: int, batch_size: int, world: World
) -> Tensor:
    """A row for each of `count` images, float32 `[count, F]`, in their order, on rank 0.

    Each process calls `compute` for its share; other ranks get no rows. Where it fails in one
    process, all raise, so that none waits for it.
    """
    share = own_share(count, batch_size, world)
    if world.size == 1:
        return compute(share)
    return _gather(together(lambda: compute(share), world), world)


def _gather(rows: Tensor, world: World) -> Tensor:
    """The rows `[n, F]` of all processes one below the other, on rank 0; on others `[0, F]`."""
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(world.size)]
    dist.all_gather(sizes, torch.tensor([len(rows)]))
    padded = rows.new_zeros(int(max(sizes)), rows.shape[1])
    padded[: len(rows)] = rows
    if world.rank > 0:
        dist.gather(padded)
        return rows[:0]
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.gather(padded, parts)
    return torch.cat([part[: int(size)] for part, size in zip(parts, sizes, strict=True)])
