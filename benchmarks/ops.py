"""How fast the operators are: against plain operations, torch.compile and copied memory.

python -m benchmarks.ops --out build/ops.json
python -m benchmarks.ops --device cpu --quick
python -m benchmarks.ops --dtypes float16 --layouts channels_last --operators blur,bias_act

A percentage is of the device's own copy bandwidth: the bytes that an operator at least has to read
and to write, over the time it takes. Kernels are measured on a GPU alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from torch import Tensor
from torch._functorch import config as functorch_config

from benchmarks.op_cases import OPERATORS, ORDERS, Layer, Work, layers, make_work
from benchmarks.records import Record, device_facts, put
from benchmarks.timing import Timer, copy_bandwidth
from dnnlib import UserError
from dnnlib.cli import CONTEXT, NameList, run
from dnnlib.logs import logger, track
from torch_utils.ops.cuda import jit
from torch_utils.world import choose_device

WAYS = ("kernels", "plain", "compiled")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
TARGETS = {"bias_act": 0.85, "upsample2d": 0.7, "downsample2d": 0.7, "blur": 0.7}  # of copying

_COPIED = {"cuda": 2**30, "cpu": 2**27}  # bytes
_BUDGET, _QUICK_BUDGET = 0.05, 0.01  # seconds a measurement

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Case:
    """An operator at one layer."""

    operator: str
    layer: Layer
    dtype: str
    layout: str

    def work(self, device: torch.device) -> Work:
        """The operator on fresh random tensors."""
        dtype, layout = DTYPES[self.dtype], LAYOUTS[self.layout]
        return make_work(self.operator, self.layer, dtype, layout, device)


def measure(case: Case, ways: Sequence[str], timer: Timer, copied: float) -> list[Record]:
    """A record for each order, with the speed of `ways`; `copied` is bytes a second."""
    work = case.work(timer.device)
    ways = [way for way in ways if way != "compiled" or case.layer.compiles]
    seconds = {way: _seconds(way, work, timer) for way in ways}
    records = []
    for order in ORDERS:
        size = work.bytes(order)
        record: Record = {
            "operator": case.operator,
            "config": case.layer.name,
            "shape": list(work.inputs[0].shape),
            "dtype": case.dtype,
            "layout": case.layout,
            "order": order,
            "bytes": size,
        }
        for way in WAYS:
            record[way] = _speed(seconds.get(way, {}).get(order), size, copied)
        records.append(record)
    return records


def _seconds(way: str, work: Work, timer: Timer) -> dict[str, float]:
    """Seconds by order, without those that torch.compile or the memory cannot do."""
    impl = "cuda" if way == "kernels" else "torch"

    def function(*inputs: Tensor) -> Tensor:
        return work.function(*inputs, impl=impl)

    seconds: dict[str, float] = {}
    try:
        if way != "compiled":
            seconds.update(_orders(function, work, timer))
        else:
            torch.compiler.reset()
            # Backward runs again and again on what one forward pass has kept.
            with functorch_config.patch(donated_buffer=False):
                compiled = torch.compile(function, fullgraph=True, dynamic=False)
                seconds.update(itertools.islice(_orders(compiled, work, timer), 2))
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
    return seconds


def _orders(function: Function, work: Work, timer: Timer) -> Iterator[tuple[str, float]]:
    def forward() -> Tensor:
        with torch.no_grad():
            return function(*work.inputs)

    yield "forward", timer(forward)
    y = function(*work.inputs)
    dy = torch.randn_like(y).requires_grad_()
    given = dy.detach()
    yield (
        "backward",
        timer(lambda: torch.autograd.grad(y, work.inputs, given, retain_graph=True)),
    )
    (dx,) = torch.autograd.grad(y, work.inputs[0], dy, create_graph=True)
    ddx = torch.randn_like(dx)
    yield "double backward", timer(lambda: torch.autograd.grad(dx, dy, ddx, retain_graph=True))


def _speed(seconds: float | None, size: int, copied: float) -> Record | None:
    if seconds is None:
        return None
    return {
        "ms": seconds * 1000,
        "gb_per_s": size / seconds / 1e9,
        "of_copy": size / seconds / copied,
    }


def table(record: Record) -> str:
    """The record for people."""
    copied = record["copy_gb_per_s"]
    lines = [f"{record['device']}: copies {copied:.3g} GB/s"]
    lines += [f"Not measured, {way}: {why}" for way, why in record["not_measured"].items()]
    head = ("operator", "layer", "input", "type", "order", "kernels", "plain", "compiled")
    rows = [head, *(_row(result, record["not_measured"]) for result in record["results"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows), ""]
    lines.append("Times are in ms, percentages of the copy bandwidth. A dash: too little memory;")
    lines.append("torch.compile at a lower resolution, or of a second derivative, which it lacks.")
    return "\n".join(lines)


def _row(result: Record, absent: Mapping[str, str]) -> tuple[str, ...]:
    def cell(way: str) -> str:
        if way in absent:
            return "not measured"
        speed = result[way]
        return f"{speed['ms']:.3f} {speed['of_copy']:4.0%}" if speed else "-"

    layout = "" if result["layout"] == "contiguous" else " last"
    return (
        result["operator"],
        result["config"],
        "x".join(map(str, result["shape"])),
        result["dtype"] + layout,
        result["order"],
        *map(cell, WAYS),
    )


def verdicts(record: Record) -> Iterator[str]:
    """What is to be reached on a GPU beyond the cache, and whether it was."""
    for result in record["results"]:
        target, speed = TARGETS.get(result["operator"]), result["kernels"]
        if result["config"] != "large" or result["order"] != "forward" or not (target and speed):
            continue
        compiled = result["compiled"]
        ahead = compiled is None or speed["ms"] < compiled["ms"]
        met = "met" if speed["of_copy"] >= target and ahead else "MISSED"
        against = "" if compiled is None else f", torch.compile {compiled['of_copy']:.0%}"
        yield (
            f"{met}: {result['operator']} {result['dtype']} {result['layout']} "
            f"{speed['of_copy']:.0%} of copying, {target:.0%} wanted{against}"
        )


def not_measured(device: torch.device, compiles: bool) -> dict[str, str]:
    """Ways that are left out, and why."""
    reasons = {}
    if (cause := jit.problem(device)) is not None:
        reasons["kernels"] = cause
    if not compiles:
        reasons["compiled"] = "--no-compile, or --quick without --compile"
    return reasons


def _chosen(names: list[str] | None, known: Iterable[str], flag: str) -> list[str]:
    for name in names or ():
        if name not in known:
            raise UserError(f"{flag} {name}: takes {', '.join(known)}")
    return list(known) if names is None else names


@click.command(context_settings=CONTEXT)
@click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), default="auto")
@click.option("--operators", type=NameList(), help=f"Of {', '.join(OPERATORS)}.  [all]")
@click.option("--dtypes", type=NameList(), help="[float16,float32; on a CPU float32]")
@click.option("--layouts", type=NameList(), help="[contiguous,channels_last]")
@click.option("--threads", type=click.IntRange(1), help="Of the processor.  [torch's own choice]")
@click.option("--compile/--no-compile", "compiles", default=None, help="[not when quick]")
@click.option("--quick", is_flag=True, help="One small layer, to see that all works.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file that gets the record.")
def main(
    device: str,
    operators: list[str] | None,
    dtypes: list[str] | None,
    layouts: list[str] | None,
    threads: int | None,
    compiles: bool | None,
    quick: bool,
    out: Path | None,
) -> None:
    """Time the operators: forward, backward and double backward."""
    if threads is not None:
        torch.set_num_threads(threads)
    gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    where = choose_device("cuda" if gpu else "cpu")
    usual = ["float16", "float32"] if gpu else ["float32"]
    setting: Record = {
        "quick": quick,
        "operators": _chosen(operators, OPERATORS, "--operators"),
        "dtypes": _chosen(dtypes, DTYPES, "--dtypes") if dtypes else usual,
        "layouts": _chosen(layouts, LAYOUTS, "--layouts"),
    }
    cases = [
        Case(*chosen)
        for chosen in itertools.product(
            setting["operators"], layers(where, quick), setting["dtypes"], setting["layouts"]
        )
    ]
    absent = not_measured(where, compiles=not quick if compiles is None else compiles)
    timer = Timer(where, _QUICK_BUDGET if quick else _BUDGET)
    copied = copy_bandwidth(timer, _COPIED[where.type] // (16 if quick else 1))
    record: Record = device_facts(where) | {
        "copy_gb_per_s": copied / 1e9,
        "not_measured": absent,
        "results": [
            result
            for case in track(cases, "Operators", len(cases), "cases")
            for result in measure(case, [way for way in WAYS if way not in absent], timer, copied)
        ],
    }
    logger.info("\n".join([table(record), *verdicts(record)]))
    if out is not None:
        put(out, "ops", setting, record)
        logger.info(f"Record: {out}")


if __name__ == "__main__":
    run(main)
