"""The benchmark of the operators: what it records, and the bytes that it counts."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from benchmarks.op_cases import OPERATORS, ORDERS, Layer, layers, make_work
from benchmarks.ops import main, table, verdicts
from benchmarks.timing import Timer, Work, copy_bandwidth
from dnnlib import UserError

CPU = torch.device("cpu")


def record(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    out = tmp_path / "ops.json"
    command = ["--device", "cpu", "--quick", "--out", str(out), *arguments]
    result = CliRunner().invoke(main, command, standalone_mode=False)
    assert result.exception is None, result.exception
    (only,) = json.loads(out.read_text())["ops"]
    return dict(only)


def test_quick_run_on_a_cpu_leaves_kernels_unmeasured(tmp_path: Path) -> None:
    found = record(tmp_path, "--layouts", "contiguous")
    assert found["torch"] == torch.__version__ and found["device"]
    assert found["cuda"] == torch.version.cuda
    assert set(found["not_measured"]) == {"kernels", "compiled"}
    assert [(r["operator"], r["order"]) for r in found["results"]] == [
        (operator, order) for operator in OPERATORS for order in ORDERS
    ]
    for result in found["results"]:
        assert result["kernels"] is None and result["compiled"] is None
        plain = result["plain"]
        rate = result["bytes"] / plain["ms"] / 1e6
        assert plain["gb_per_s"] == pytest.approx(rate)
        assert plain["of_copy"] == pytest.approx(rate / found["copy_gb_per_s"])
    lines = table(found).splitlines()
    assert sum("not measured" in line for line in lines) == len(found["results"])
    assert list(verdicts(found)) == []


def test_wrong_names_are_told_with_the_right_ones(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--operators", "blurr"], standalone_mode=False)
    assert isinstance(result.exception, UserError)
    assert "--operators blurr: takes bias_act" in str(result.exception)


@pytest.mark.parametrize(
    ("operator", "forward", "backward", "double"),
    [
        # In floats: x and y of 2 x 4 x 8 x 8 are 512 each, b 4, scale 8, noise 128.
        ("bias_act", 1024 + 4, 3 * 512 + 4, 3 * 512),
        ("modulated_bias_act", 1024 + 140, 4 * 512 + 140, 3 * 512),
        ("upsample2d", 512 + 128, 512 + 128, 512 + 128),
        ("downsample2d", 512 + 128, 512 + 128, 512 + 128),
        ("blur", 512 + 648, 512 + 648, 512 + 648),
    ],
)
def test_bytes_are_the_least_that_move(
    operator: str, forward: int, backward: int, double: int
) -> None:
    layer = Layer("", 2, 4, 8)
    work = make_work(operator, layer, torch.float32, torch.channels_last, CPU)
    assert [work.bytes(order) // 4 for order in ORDERS] == [forward, backward, double]
    assert work.inputs[0].is_contiguous(memory_format=torch.channels_last)


def test_layers_are_those_of_the_configs() -> None:
    found = {layer.name: layer for layer in reversed(layers(torch.device("cuda"), quick=False))}
    assert found["cifar"] == Layer("cifar", 32, 512, 32)
    assert found["paper256"] == Layer("paper256", 8, 64, 256)
    assert found["paper1024"] == Layer("paper1024", 4, 32, 1024)
    assert all(layer.compiles for layer in found.values())
    large = found["large"]
    assert large.batch * large.channels * large.resolution**2 * 2 >= 2**29  # bytes in 16 bits


def test_targets_count_beyond_the_cache_and_against_torch_compile() -> None:
    def result(of_copy: float, ms: float, config: str = "large") -> dict[str, Any]:
        common = {
            "operator": "blur",
            "order": "forward",
            "dtype": "float16",
            "layout": "contiguous",
        }
        ways = {"kernels": {"of_copy": of_copy, "ms": ms}, "compiled": {"of_copy": 0.5, "ms": 1.0}}
        return {**common, "config": config, **ways}

    results = [result(0.75, 0.5), result(0.65, 0.5), result(0.75, 1.5), result(0.1, 9, "cifar")]
    assert [line.split(":")[0] for line in verdicts({"results": results})] == [
        "met",
        "MISSED",
        "MISSED",
    ]


class Clock:
    """Work that takes the given seconds, one after the other, and what measures them."""

    def __init__(self, *durations: float) -> None:
        self.now, self.durations = 0.0, list(durations)

    def work(self) -> None:
        self.now += self.durations.pop(0)

    def event(self, enable_timing: bool) -> Event:
        assert enable_timing
        return Event(self)


class Event:
    """What torch.cuda.Event is, on a `Clock`."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.time = clock, 0.0

    def record(self) -> None:
        self.time = self.clock.now

    def elapsed_time(self, end: Event) -> float:
        return (end.time - self.time) * 1000


def test_timer_warms_up_and_takes_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(90, 80, 7, 2, 3, 60, 4)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    assert Timer(CPU, budget=0)(clock.work) == 4
    assert clock.durations == []


def test_timer_takes_events_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.5, 7, 2, 3, 60, 4, 1)
    monkeypatch.setattr(torch.cuda, "Event", clock.event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    timer = Timer(CPU, budget=3)  # six runs of what the first takes
    assert timer._on_gpu(clock.work) == pytest.approx(3.5)
    assert clock.durations == []


def test_copying_reads_and_writes() -> None:
    class HalfASecond(Timer):
        def __call__(self, work: Work) -> float:
            work()
            return 0.5

    assert copy_bandwidth(HalfASecond(CPU, 0), 2**20) == 2 * 2**20 / 0.5
