"""The training loop: interruptions, resuming, scores, and losses that are no numbers."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from data_helpers import UNHURRIED, error_line, write_two_classes
from hypothesis import given, settings
from hypothesis import strategies as st
from network_helpers import exit_status
from training_helpers import CPU, SMALL

import train
from dnnlib import RunError
from torch_utils.checkpoint import load_state, load_tensors, previous_state_path
from torch_utils.world import World
from training.artifacts import Evaluate, Score
from training.data.dataset import DataConfig, open_dataset
from training.loop import TrainingLoop
from training.networks.generator import Generator
from training.options import data_facts, make_config, resolve_options
from training.snapshots import load_network
from training.state import TrainingState
from training.trainer import Trainer

NETWORK = "network-snapshot-000000.safetensors"
STATE = "training-state.pt"
OPTIONS = ("--cfg", "tiny", "--kimg", 0.08, "--batch", 8, "--tick", 0.032, "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve grey 8x8 images of two classes."""
    return write_two_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The folder of a run that nothing interrupted."""
    return start(tmp_path_factory.mktemp("straight"), data)


def start(outdir: Path, data: Path, status: int = 0) -> Path:
    """Run train.py; the folder of the run."""
    command = ("--outdir", outdir, "--data", data, *OPTIONS, "--snap", 1)
    assert exit_status(train.main, *command) == status
    (run_dir,) = outdir.iterdir()
    return run_dir


def after_step(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[Trainer], None]
) -> None:
    """Let `act` happen at the end of the step that comes `number`-th in the run."""
    step = Trainer.step

    def acting(trainer: Trainer) -> None:
        step(trainer)
        if trainer.state.step == number:
            act(trainer)

    monkeypatch.setattr(Trainer, "step", acting)


def raise_signal(number: int) -> Callable[[Trainer], None]:
    return lambda trainer: signal.raise_signal(number)


@pytest.mark.parametrize(
    ("number", "step", "status"),
    [
        (signal.SIGINT, 1, 130),
        (signal.SIGTERM, 4, 143),  # as a tick ends
        (signal.SIGINT, 9, 130),
    ],
)
def test_interrupted_run_goes_on_to_the_same_networks_bit_for_bit(
    tmp_path: Path, data: Path, straight: Path, number: int, step: int, status: int
) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        after_step(monkeypatch, step, raise_signal(number))
        run_dir = start(tmp_path, data, status)
    assert load_state(run_dir / STATE, CPU)["step"] == step
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert start(tmp_path, data) == run_dir
    assert same(network(run_dir), network(straight))
    states = [load_state(folder / STATE, CPU) for folder in (run_dir, straight)]
    for state in states:
        del state["seconds"]  # the one thing that is not computed
    assert same(*states)


def network(run_dir: Path) -> dict[str, object]:
    tensors, metadata = load_tensors(run_dir / NETWORK)
    return {**tensors, **metadata}


def same(ours: object, theirs: object) -> bool:
    """Equality of nested states, of tensors bit for bit."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = ours.keys() == theirs.keys()
        return keys and all(same(value, theirs[key]) for key, value in ours.items())
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return torch.equal(ours, theirs)
    return bool(ours == theirs)


def test_resume_of_the_folder_alone_is_as_exact(
    tmp_path: Path, data: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        after_step(patch, 6, raise_signal(signal.SIGTERM))
        run_dir = start(tmp_path, data, 143)
    assert exit_status(train.main, "--resume", run_dir, "--device", "cpu") == 0
    assert same(network(run_dir), network(straight))


def test_a_kill_between_two_renames_costs_one_checkpoint(
    tmp_path: Path, data: Path, straight: Path
) -> None:
    run_dir = start(tmp_path, data)
    (run_dir / STATE).unlink()
    (run_dir / NETWORK).unlink()
    start(tmp_path, data)
    assert same(network(run_dir), network(straight))


def test_a_second_interrupt_ends_at_once(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def twice(trainer: Trainer) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    after_step(monkeypatch, 2, twice)
    run_dir = start(tmp_path, data, 130)
    assert error_line(capsys) == "Error: interrupted"
    assert not (run_dir / STATE).exists()


def test_interruption_says_how_to_go_on(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    after_step(monkeypatch, 2, raise_signal(signal.SIGINT))
    run_dir = start(tmp_path, data, 130)
    said = capsys.readouterr()
    assert f"Checkpoint written; the same command again continues {run_dir}" in said.out
    assert said.err == ""


def poison(trainer: Trainer) -> None:
    for parameter in trainer.state.players.G.parameters():
        parameter.data.fill_(float("nan"))


def test_losses_that_are_no_numbers_end_the_run_and_spare_its_checkpoint(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    after_step(monkeypatch, 6, poison)
    run_dir = start(tmp_path, data, 1)
    warning, line = capsys.readouterr().err.splitlines()
    assert warning.startswith("Warning: non-finite gradients were replaced")
    assert "no longer finite" in line and str(run_dir) in line
    assert load_state(run_dir / STATE, CPU)["step"] == 4
    last = json.loads((run_dir / "stats.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 8 and last["Gradients/replaced"] > 0


def test_an_interruption_spares_the_checkpoint_from_weights_that_are_no_numbers(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def poison_and_interrupt(trainer: Trainer) -> None:
        poison(trainer)
        signal.raise_signal(signal.SIGINT)

    after_step(monkeypatch, 6, poison_and_interrupt)
    run_dir = start(tmp_path, data, 1)
    said = capsys.readouterr()
    assert "no longer finite" in said.err and "the last good checkpoint is in" in said.err
    assert "Checkpoint written" not in said.out
    assert load_state(run_dir / STATE, CPU)["step"] == 4


def loop(
    run_dir: Path, data: Path, evaluate: Evaluate | None = None, **given: float
) -> TrainingLoop:
    """The loop of a run of very small networks, which goes on where there is a checkpoint."""
    run_dir.mkdir(exist_ok=True)
    dataset = open_dataset(DataConfig(path=str(data)))
    facts = data_facts(dataset)
    options = resolve_options("tiny", SMALL | {"kimg": 0.032, "workers": 1} | given, 8, 8)
    config = make_config(options, dataset.config, facts)
    state = TrainingState(config, CPU)
    if (run_dir / STATE).is_file():
        state.load_state_dict(load_state(run_dir / STATE, CPU))
    return TrainingLoop(config, state, dataset, run_dir, World(CPU), evaluate)


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
