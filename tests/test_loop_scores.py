"""Scores of a run: the best network, interruptions, failures, and what they leave alone."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from data_helpers import UNHURRIED
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_helpers import NETWORK, STATE, loop, network, same
from training_helpers import CPU

from dnnlib import RunError
from torch_utils.checkpoint import load_state, load_tensors, previous_state_path
from torch_utils.world import World
from training.artifacts import Score
from training.networks.generator import Generator
from training.snapshots import load_network

pytest_plugins = ["loop_fixtures"]


class Examiner:
    """Gives one value after another; an exception among them is raised."""

    def __init__(self, values: Sequence[float | Exception], lower_is_better: bool = True) -> None:
        self.values, self.lower_is_better = list(values), lower_is_better

    def __call__(self, generator: Generator, network: Path, world: World) -> list[Score]:
        assert load_network(str(network)).nimg % 8 == 0
        torch.manual_seed(3)  # whatever a metric does with the global generator
        value = self.values.pop(0)
        if isinstance(value, Exception):
            raise value
        return [Score("fid", value, self.lower_is_better), Score("kid", -value, True)]


@pytest.mark.parametrize(
    ("values", "lower_is_better", "best_nimg"),
    [
        ([3.0, 1.0, 2.0, 1.0], True, 16),
        ([3.0, 1.0, 2.0, 4.0], False, 32),
        ([float("nan"), 2.0, float("nan"), 3.0], True, 16),
        ([OSError("gone"), 5.0, ValueError("no"), 6.0], True, 16),
    ],
)
def test_network_with_the_best_first_score_is_kept(
    tmp_path: Path,
    data: Path,
    values: Sequence[float | Exception],
    lower_is_better: bool,
    best_nimg: int,
) -> None:
    evaluate = Examiner(values, lower_is_better)
    run_dir = tmp_path / "run"
    assert loop(run_dir, data, evaluate, tick=0.008, snap=1).run() is None
    assert evaluate.values == []
    assert load_network(str(run_dir)).path.name == "network-best.safetensors"
    assert load_network(str(run_dir)).nimg == best_nimg
    assert load_network(str(run_dir / NETWORK)).nimg == 32
    assert abs(load_state(run_dir / STATE, CPU)["best"]["fid"]) == values[best_nimg // 8 - 1]
    numbers = [x for x in values if not isinstance(x, Exception) and not math.isnan(x)]
    best_kid = load_network(str(run_dir / "network-best-kid.safetensors"))
    assert best_kid.nimg // 8 - 1 == values.index(max(numbers))


def test_only_the_newest_and_the_best_networks_are_kept(tmp_path: Path, data: Path) -> None:
    run_dir = tmp_path / "run"
    examiner = Examiner([1.0, 2.0, 3.0, 4.0, 5.0])
    # Networks are numbered by kimg, so that a snapshot a kimg makes a file each.
    loop(run_dir, data, examiner, kimg=5, tick=1, snap=1, keep=2, batch=500).run()
    names = {path.name for path in run_dir.glob("network-*")}
    assert names == {
        "network-snapshot-000004.safetensors",
        "network-snapshot-000005.safetensors",
        "network-best.safetensors",
        "network-best-kid.safetensors",
    }
    assert load_network(str(run_dir)).nimg == 1000


def test_out_of_memory_names_the_option_to_change(tmp_path: Path, data: Path) -> None:
    training = loop(tmp_path / "run", data)

    def exhaust() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has")

    training.trainer.step = exhaust  # type: ignore[method-assign]
    with pytest.raises(RunError, match=r"^out of memory on cpu .*a smaller --batch-gpu than 8, or"):
        training.run()


def test_best_network_stays_the_best_after_a_resume(tmp_path: Path, data: Path) -> None:
    run_dir = tmp_path / "run"
    loop(run_dir, data, Examiner([1.0]), kimg=0.008).run()
    loop(run_dir, data, Examiner([2.0]), kimg=0.016).run()
    assert load_network(str(run_dir / NETWORK)).nimg == 16
    assert load_network(str(run_dir)).nimg == 8


def test_the_state_before_is_an_earlier_point_of_the_run(tmp_path: Path, data: Path) -> None:
    run_dir = tmp_path / "run"
    loop(run_dir, data, Examiner([2.0, 1.0]), kimg=0.016, tick=0.008, snap=1).run()
    state = load_state(run_dir / STATE, CPU)
    before = load_state(previous_state_path(run_dir / STATE), CPU)
    assert (before["nimg"], state["nimg"]) == (8, 16)
    assert state["scored"] and before["scored"]


def killed(generator: Generator, network: Path, world: World) -> list[Score]:
    """Scores during which the process ends."""
    raise KeyboardInterrupt


def test_a_kill_while_scores_are_taken_costs_no_training(tmp_path: Path, data: Path) -> None:
    for name, evaluate in (("straight", None), ("killed", killed)):
        training = loop(tmp_path / name, data, evaluate, tick=0.016, snap=1)
        with nullcontext() if evaluate is None else pytest.raises(KeyboardInterrupt):
            training.run()
    again = loop(tmp_path / "killed", data, tick=0.016, snap=1)
    assert again.state.nimg == 16
    again.run()
    assert same(network(tmp_path / "killed"), network(tmp_path / "straight"))


def test_scores_that_a_kill_has_cost_are_taken_when_the_run_goes_on(
    tmp_path: Path, data: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path / "run", data, killed).run()
    for examiner in (Examiner([1.0]), Examiner([])):
        loop(tmp_path / "run", data, examiner).run()
        assert load_network(str(tmp_path / "run")).path.name == "network-best.safetensors"


def terminated(generator: Generator, network: Path, world: World) -> list[Score]:
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError("the signal ends it before")


def test_a_signal_ends_the_scores_at_once_and_they_are_taken_later(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    assert loop(run_dir, data, terminated).run() == signal.SIGTERM
    assert "scores are taken when the run goes on" in capsys.readouterr().out
    assert not load_state(run_dir / STATE, CPU)["scored"]
    loop(run_dir, data, Examiner([1.0])).run()
    assert load_network(str(run_dir)).path.name == "network-best.safetensors"


def test_scores_that_always_fail_never_end_a_run(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = Examiner([RuntimeError("out of memory"), OSError("no detector")])
    assert loop(tmp_path / "run", data, evaluate, tick=0.016, snap=1).run() is None
    warned = capsys.readouterr().err
    assert "the metrics failed (RuntimeError: out of memory); training goes on" in warned
    assert "the metrics failed (OSError: no detector)" in warned
    assert load_network(str(tmp_path / "run")).nimg == 32
    assert not (tmp_path / "run" / "network-best.safetensors").exists()


def test_pictures_snapshots_and_scores_leave_training_as_it_is(tmp_path: Path, data: Path) -> None:
    loop(tmp_path / "busy", data, Examiner([1.0] * 4), tick=0.008, snap=1).run()
    loop(tmp_path / "calm", data, tick=1000.0).run()
    busy, calm = (network(tmp_path / name) for name in ("busy", "calm"))
    assert same(busy | {"config": ""}, calm | {"config": ""})


def test_training_changes_the_networks(tmp_path: Path, data: Path) -> None:
    for name, kimg in (("short", 0.008), ("long", 0.016)):
        loop(tmp_path / name, data, kimg=kimg).run()
    short, long = (load_tensors(tmp_path / name / NETWORK)[0] for name in ("short", "long"))
    changed = {key.split(".")[0] for key in short if not torch.equal(short[key], long[key])}
    assert changed == {"G_ema", "D", "C"}


@settings(UNHURRIED, max_examples=4)
@given(st.sampled_from([8, 12, 16]), st.sampled_from([0.004, 0.016, 0.05]), st.integers(1, 3))
def test_whatever_the_ticks_a_run_ends_with_a_line_and_a_snapshot(
    tmp_path_factory: pytest.TempPathFactory, data: Path, batch: int, tick: float, snap: int
) -> None:
    run_dir = tmp_path_factory.mktemp("ticks") / "run"
    loop(run_dir, data, batch=batch, tick=tick, snap=snap).run()
    lines = [json.loads(line) for line in (run_dir / "stats.jsonl").read_text().splitlines()]
    nimg = -(-32 // batch) * batch  # whole batches
    assert lines[-1]["kimg"] == nimg / 1000
    assert load_network(str(run_dir)).nimg == load_state(run_dir / STATE, CPU)["nimg"] == nimg
    every = max(batch, tick * 1000)
    assert len(lines) in {int(nimg / every), int(nimg / every) + 1}
