"""Processes that work together: results, failures, signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from dnnlib import RunError, UserError
from torch_utils import spawn
from torch_utils.spawn import run_processes
from torch_utils.world import World

ROOT = Path(__file__).parents[1]
HANG = 120.0  # seconds that nothing here takes


def add_up(world: World, folder: Path, base: int) -> int:
    """Rank 0: `base` and the sum of ranks; every rank leaves its world in a file."""
    total = torch.tensor([world.rank])
    dist.all_reduce(total)
    (folder / f"{world.rank}").write_text(f"{world.device} {world.size}")
    return base + int(total) if world.rank == 0 else -1


def fail(world: World, how: str) -> int:
    """Rank 1 fails `how`; the others wait for it."""
    if world.rank == 1:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise {"user": UserError, "bug": KeyError}[how]("--data x: broken")
    dist.barrier()
    return 0


def wait_for_signal(world: World, folder: Path, polite: bool) -> int:
    """Work until a signal comes, `polite` about SIGTERM; each rank leaves its process id."""
    received: list[int] = []
    if polite:
        signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    (folder / f"{world.rank}.part").write_text(str(os.getpid()))
    (folder / f"{world.rank}.part").rename(folder / f"{world.rank}.pid")
    started = time.monotonic()
    while not received and time.monotonic() - started < HANG:
        time.sleep(0.01)
    return 128 + received[0]


def test_one_process_is_this_one(tmp_path: Path) -> None:
    def pid(world: World) -> int:
        assert world == World(torch.device("cpu"))
        return os.getpid()

    assert run_processes(pid, 1, "cpu", ()) == os.getpid()
    assert not dist.is_initialized()


def test_processes_work_together(tmp_path: Path) -> None:
    assert run_processes(add_up, 2, "cpu", (tmp_path, 40)) == 41
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["cpu 2"] * 2


@pytest.mark.timeout(HANG)  # the barrier would wait for half an hour
@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("user", UserError, "--data x: broken"),
        ("bug", RunError, r"process 1 of 2 failed \(KeyError: '--data x: broken'\)"),
        ("kill", RunError, r"process 1 of 2 died \(killed by SIGKILL\)"),
    ],
)
def test_the_first_failure_ends_all(
    how: str, kind: type[Exception], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        run_processes(fail, 2, "cpu", (how,))
    shown = capfd.readouterr().err
    assert shown.count("Traceback") == (how == "bug")


def interrupted(folder: Path, polite: bool, number: int) -> tuple[int, str]:
    """Exit status and stderr of a script that gets a signal while its processes work."""
    script = (
        "from dnnlib.cli import run; import click, pathlib, test_spawn, torch_utils.spawn as s\n"
        "command = click.Command('x', callback=lambda: s.run_processes("
        f"test_spawn.wait_for_signal, 2, 'cpu', (pathlib.Path({str(folder)!r}), {polite})))\n"
        "run(command, [])"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True
    )
    started = time.monotonic()
    while len(list(folder.glob("*.pid"))) < 2 and time.monotonic() - started < HANG:
        time.sleep(0.01)
    process.send_signal(number)
    _, shown = process.communicate(timeout=HANG)
    return process.returncode, shown


def alive(pid: int) -> bool:
    """Whether the process runs: not gone, and no zombie that waits for its parent."""
    try:
        return re.search(r"\) ([A-Z])", Path(f"/proc/{pid}/stat").read_text())[1] != "Z"  # type: ignore[index]
    except OSError:
        return False


@pytest.mark.parametrize(
    ("number", "polite", "status", "message"),
    [
        (signal.SIGINT, False, 130, "Error: interrupted\n"),
        (signal.SIGTERM, True, 128 + signal.SIGTERM, ""),
        (signal.SIGKILL, True, -signal.SIGKILL, None),
    ],
)
def test_signals_reach_the_processes(
    tmp_path: Path, number: int, polite: bool, status: int, message: str | None
) -> None:
    ended, shown = interrupted(tmp_path, polite, number)
    assert ended == status
    if message is not None:
        assert shown.lstrip("\n") == message
    pids = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
    started = time.monotonic()
    while any(map(alive, pids)) and time.monotonic() - started < HANG:
        time.sleep(0.01)
    assert len(pids) == 2 and not any(map(alive, pids))


def test_more_processes_than_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    spawn.check_size(3, torch.device("cuda"))
    with pytest.raises(UserError, match="--gpus 4: this machine has 3; ask for at most 3"):
        spawn.check_size(4, torch.device("cuda"))
    with pytest.raises(UserError, match="--gpus 2: --device mps is one device"):
        spawn.check_size(2, torch.device("mps"))
    spawn.check_size(64, torch.device("cpu"))
