"""Training in several processes: the same mathematics, the same state, and ends together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import distributed_targets as targets
import pytest
import torch
from data_helpers import write_two_classes
from training_helpers import small_config

from dnnlib import RunError
from torch_utils.checkpoint import load_state
from torch_utils.spawn import run_processes

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")


def load(path: Path) -> dict[str, object]:
    result: dict[str, object] = torch.load(path, weights_only=True)
    return result


def test_sums_reach_every_process() -> None:
    assert run_processes(targets.sums, 2, "cpu", ()) == 33


@pytest.mark.parametrize("size", [2, 3])
def test_gradients_and_statistics_are_those_of_one_process(tmp_path: Path, size: int) -> None:
    """The micro-batches stay the same, so even losses that couple images agree.

    Path lengths are left out: each process draws their directions for itself.
    """
    config = small_config(batch=12, batch_gpu=2, mbstd=2, noise_model="none")
    for processes in (1, size):
        run_processes(targets.first_gradients, processes, "cpu", (config, tmp_path))
    one = load(tmp_path / "1-0.pt")
    for rank in range(size):
        several = load(tmp_path / f"{size}-{rank}.pt")
        torch.testing.assert_close(several, one, rtol=1e-5, atol=1e-6)


def test_all_processes_end_in_the_same_state(tmp_path: Path) -> None:
    config = small_config(batch=8, batch_gpu=4, ada_kimg=0.05, target=-1.0, kimg=0.1, pl_weight=2.0)
    run_processes(targets.final_state, 2, "cpu", (config, 9, tmp_path))
    first, second = load(tmp_path / "2-0.pt"), load(tmp_path / "2-1.pt")
    assert first.pop("config") == second.pop("config")
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    players = first["players"]
    assert isinstance(players, dict)
    assert players["view_c.diffusion.horizon"] > 10  # and it did move
    assert players["view_d.schedule.p"] != 0


def test_a_bit_that_differs_is_found_and_named() -> None:
    with pytest.raises(RunError, match=r"no longer agree: D\.b4\.out\.weight differs, and 0 more"):
        run_processes(targets.fall_apart, 2, "cpu", (small_config(batch=8, batch_gpu=4),))


def test_a_killed_process_ends_the_run_within_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(RunError, match=r"process 1 of 2 died \(killed by SIGKILL\)"):
        run_processes(targets.die, 2, "cpu", (small_config(batch=8, batch_gpu=4),))
    assert time.monotonic() - started < 60  # a hang would last for the time-out of half an hour


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_two_classes(tmp_path_factory.mktemp("data"))


def train(launcher: list[str], *options: object) -> subprocess.CompletedProcess[str]:
    """Run train.py behind `launcher` in processes of its own."""
    command = [*launcher, str(ROOT / "train.py"), *map(str, options), "--device", "cpu"]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


OPTIONS = ("--cfg", "tiny", "--batch", 8, "--batch-gpu", 4, "--tick", 0.032, "--snap", 1)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path, data: Path) -> None:
    begin = ("--outdir", tmp_path, "--data", data, *OPTIONS, "--kimg", 0.04)
    ended = train([sys.executable], *begin, "--gpus", 2)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("Networks  G") == 1  # one process speaks
    assert "2 x cpu" in ended.stdout
    (run_dir,) = tmp_path.iterdir()
    assert load_state(run_dir / "training-state.pt", CPU)["nimg"] == 40

    longer = train(TORCHRUN, "--resume", run_dir, "--kimg", 0.064)
    assert longer.returncode == 0, longer.stderr
    assert f"Continuing {run_dir} at kimg 0.0" in longer.stdout
    alone = train([sys.executable], "--resume", run_dir, "--kimg", 0.08)
    assert alone.returncode == 0, alone.stderr
    assert load_state(run_dir / "training-state.pt", CPU)["nimg"] == 80
    steps = (run_dir / "stats.jsonl").read_text().splitlines()
    assert len(steps) == 4  # one process writes


def test_processes_that_cannot_share_a_batch_are_refused_in_one_line(
    tmp_path: Path, data: Path
) -> None:
    command = ("--outdir", tmp_path / "runs", "--data", data, *OPTIONS, "--gpus", 3)
    refused = train([sys.executable], *command)
    assert refused.returncode == 2
    said = "Error: --gpus 3: a batch of 8 in micro-batches of 4 is 2 of them, which so many"
    assert [line.startswith(said) for line in refused.stderr.splitlines()] == [True], refused.stderr
    assert not (tmp_path / "runs").exists()
