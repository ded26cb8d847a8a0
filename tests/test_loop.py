"""The training loop: interruptions, resuming, scores, and losses that are no numbers."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from data_helpers import error_line
from loop_helpers import NETWORK, STATE, network, same
from network_helpers import exit_status
from training_helpers import CPU

import train
from torch_utils.checkpoint import load_state
from training.trainer import Trainer

pytest_plugins = ["loop_fixtures"]

OPTIONS = ("--cfg", "tiny", "--kimg", 0.08, "--batch", 8, "--tick", 0.032, "--device", "cpu")


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
