"""Several GPUs: sums by NCCL, one state on all of them, and an end for all where one fails."""

from __future__ import annotations

from pathlib import Path

import distributed_targets as targets
import pytest
import torch
from torchrun_script import run_failing
from training_helpers import small_config

from torch_utils.spawn import run_processes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
]


def test_sums_on_the_devices_and_on_the_host() -> None:
    assert run_processes(targets.sums, 2, "cuda", ()) == 33


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_all_devices_end_in_the_same_state(tmp_path: Path, cuda_graphs: bool) -> None:
    config = small_config(batch=8, batch_gpu=4, pl_weight=2.0)
    run = config.run.model_copy(update={"cuda_graphs": cuda_graphs})
    config = config.model_copy(update={"run": run})
    run_processes(targets.final_state, 2, "cuda", (config, 3, tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"2-0.pt", "2-1.pt"}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["user", "bug"])
def test_a_failure_under_torchrun_ends_all(how: str) -> None:
    """`run_failing` itself gives up where a process still waits for a sum."""
    ended = run_failing("1", how, "cuda")
    assert ended.returncode == 1
    assert {"user": "--data x: broken", "bug": "unforeseen"}[how] in ended.stderr
