"""Processes that torchrun started: one that fails ends all, and what went wrong is told once."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch
from torchrun_script import run_failing

from dnnlib import UserError
from torch_utils import torchrun


@pytest.mark.parametrize(
    ("who", "how", "told"),
    [
        ("0", "user", "Error: --data x: broken"),
        ("1", "user", "Error: --data x: broken"),
        ("0,1", "user", "Error: --data x: broken"),
        ("1", "bug", "KeyError: 'unforeseen'"),
    ],
)
def test_a_failure_ends_all_and_is_told_once(who: str, how: str, told: str) -> None:
    ended = run_failing(who, how, "cpu")
    assert ended.returncode == 1
    assert ended.stderr.splitlines().count(told) == 1, ended.stderr
    # What the other met thereby is no news.
    assert "RuntimeError" not in ended.stderr and "DistBackendError" not in ended.stderr


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "--nproc-per-node 4: this machine has 3; ask for at most 3"),
        ("mps", "--nproc-per-node 4: --device mps is one device; ask for 1"),
    ],
)
def test_more_processes_than_devices(
    monkeypatch: pytest.MonkeyPatch, device: str, message: str
) -> None:
    for name, value in (("WORLD_SIZE", "8"), ("LOCAL_WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torchrun, "choose_device", torch.device)
    with pytest.raises(UserError, match=f"^{message}$"):
        torchrun._join(5, device, timedelta(seconds=1))
