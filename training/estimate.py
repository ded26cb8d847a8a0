"""What a run will take, before it begins: floating-point operations, memory, time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from torch_utils.stats import Stats
from torch_utils.world import World
from training.config import TrainingConfig
from training.networks.precision import Precision, set_precision
from training.phases import Draw, Phase, make_phases
from training.players import Players

META = torch.device("meta")  # shapes without contents


def estimate(config: TrainingConfig, world: World) -> str:
    """Work, memory and time of a run in a line; runs a convolution on the device to time it.

    Memory is what the busiest phase keeps for its backward pass, with weights, gradients and
    optimisers. Time is that of the convolutions alone, at the rate that the device reaches in a
    large one: the first tick tells the true figure.
    """
    with META:
        players = Players(config)
    players.to(META)  # what it makes on the CPU whatever is said
    set_precision(players, config.run.precision, config.run.low_resolutions)
    phases = make_phases(players, config.losses)
    costs = [phase_cost(phase, config, players) for phase in phases]
    flops = sum(cost / phase.interval for (cost, _), phase in zip(costs, phases, strict=True))
    flops_per_kimg = flops / config.batch_gpu * 1000
    activations = max(saved for _, saved in costs)
    memory = activations + fixed_memory(config, players)
    rate = measured_rate(config.run.precision, world.device)
    seconds = flops_per_kimg / rate / world.size
    is_slow = world.device.type == "cpu" and config.preset != "tiny"
    return (
        f"Estimate  {flops_per_kimg / 1e12:.3g} TFLOP/kimg, {memory / 2**30:.2f} GiB a process; "
        f"{duration(seconds)} for a kimg and {duration(seconds * config.run.kimg)} in all if every "
        f"convolution ran at {rate / 1e12:.2g} TFLOP/s, as a large one does here; expect more"
        f"{'; --cfg tiny is made for CPUs' if is_slow else ''}"
    )


def phase_cost(phase: Phase, config: TrainingConfig, players: Players) -> tuple[int, int]:
    """Operations of a phase's passes over a micro-batch, and bytes kept for its backward pass.

    `players` are on the meta device.
    """
    facts, n = config.facts, config.batch_gpu
    draw = Draw(
        torch.empty(n, facts.num_channels, facts.height, facts.width, device=META),
        torch.empty(n, dtype=torch.int64, device=META),
        torch.empty(n, players.G.z_dim, device=META),
        torch.empty(n, dtype=torch.int64, device=META),
    )
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no two storages share an address

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        alive.append(tensor)
        return tensor

    phase.wake()
    with _FlopCount() as count, torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        phase.loss(draw, Stats(World(META))).backward()  # type: ignore[no-untyped-call]
    phase.sleep()
    return count.total, sum(kept.values())


class _FlopCount(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the operations of all products and convolutions, by torch's own formulas."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def fixed_memory(config: TrainingConfig, players: Players) -> int:
    """Bytes of weights and averages, gradients, and two moments for each learning weight."""
    trained: list[nn.Module] = [players.G, players.D]
    trained += [] if players.C is None else [players.C]
    learning = sum(p.numel() for player in trained for p in player.parameters())
    averaged = sum(p.numel() for p in players.G_ema.parameters())
    facts = config.facts
    data = facts.num_images * facts.num_channels * facts.height * facts.width
    return 4 * (4 * learning + averaged) + data


def measured_rate(precision: Precision, device: torch.device) -> float:
    """Operations a second of a 3x3 convolution large enough to keep `device` busy."""
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    n, size = (64, 64) if device.type == "cuda" else (4, 32)
    channels = 256
    x = torch.randn(n, channels, size, size, device=device, dtype=dtype)
    w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    x, w = (tensor.to(memory_format=torch.channels_last) for tensor in (x, w))
    seconds = fastest(lambda: F.conv2d(x, w, padding=1), device)
    return 2 * n * size**2 * channels**2 * 9 / seconds


def fastest(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Seconds of the quickest of a few runs."""
    best = math.inf
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        torch.get_device_module(device).synchronize()
        best = min(best, time.perf_counter() - started)
    return best


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    units = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))
    unit, length = next(
        ((unit, length) for unit, length in units if seconds >= 2 * length), units[-1]
    )
    count = seconds / length
    return f"{count:,.0f} {unit}" if count >= 100 else f"{count:.3g} {unit}"
