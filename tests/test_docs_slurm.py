"""The SLURM script of docs/training.md, with stand-ins for the programs that it calls."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from docs_commands import Command, blocks, commands

from benchmarks.options_page import load_command
from training.options import resolve_options
from training.presets import PRESET_NAMES

PAGE = "docs/training.md"
(SCRIPT,) = [block for block in blocks(PAGE, "bash") if block.startswith("#!/bin/bash")]
STAND_INS = {
    "srun": 'exec "$@"',
    "scontrol": """
        [ "$1 $2" = "show hostnames" ] && printf 'first\\nsecond\\n' && exit
        echo "$@" > scontrol.txt
    """,
    # As torchrun does: TERM becomes a checkpoint, some time later, and status 1.
    "torchrun": """
        echo "$@" > torchrun.txt
        trap 'sleep 0.5; touch checkpoint; exit 1' TERM
        for i in $(seq 100); do [ -e end ] && exit 3; sleep 0.05; done
    """,
}


@pytest.fixture
def job(tmp_path: Path) -> subprocess.Popen[bytes]:
    """The script, running."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}", encoding="utf-8")
        (programs / name).chmod(0o755)
    (tmp_path / "job.sh").write_text(SCRIPT, encoding="utf-8")
    slurm = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_ID": "42"}
    path = f"{programs}:{os.environ['PATH']}"
    running = subprocess.Popen(
        ["bash", "job.sh"], cwd=tmp_path, env=os.environ | slurm | {"PATH": path}
    )
    wait_for(tmp_path / "torchrun.txt")
    return running


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.is_file() or not path.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def test_a_signal_becomes_a_checkpoint_and_another_turn(
    job: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    job.send_signal(signal.SIGTERM)
    job.wait(60)
    assert (tmp_path / "checkpoint").exists()
    assert (tmp_path / "scontrol.txt").read_text() == "requeue 42\n"
    assert "--rdzv-id 42" in (tmp_path / "torchrun.txt").read_text()
    assert "--rdzv-endpoint first:29500" in (tmp_path / "torchrun.txt").read_text()


def test_an_end_of_its_own_is_the_end(job: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "end").touch()
    assert job.wait(60) == 3
    assert not (tmp_path / "scontrol.txt").exists()


def torchrun_lines() -> list[list[str]]:
    lines = [command.words for command in commands(PAGE) if command.words[0] == "torchrun"]
    found = re.findall(r"^srun (torchrun .*?) &$", SCRIPT.replace("\\\n", " "), re.MULTILINE)
    return [*lines, *(shlex.split(line) for line in found)]


def test_the_lines_are_understood_and_their_processes_share_the_micro_batches() -> None:
    lines = torchrun_lines()
    assert len(lines) == 2
    for words in lines:
        script = words.index("train.py")
        line = Command(PAGE, shlex.join(["python", *words[script:]]))
        context = load_command("train").make_context("train", line.arguments)
        nodes, per_node = (
            int(words[words.index(flag) + 1]) for flag in ("--nnodes", "--nproc-per-node")
        )
        (cfg,) = [name for name in PRESET_NAMES if name == context.params["cfg"]]
        options = resolve_options(cfg, {}, 256, 256, nodes * per_node)
        assert options.micro_batches % (nodes * per_node) == 0


def test_the_script_asks_slurm_for_the_machines_that_torchrun_expects() -> None:
    asked = dict(re.findall(r"--([\w-]+)=(\S+)", SCRIPT))
    (line,) = torchrun_lines()[1:]
    assert asked["nodes"] == line[line.index("--nnodes") + 1]
    assert asked["gpus-per-node"] == line[line.index("--nproc-per-node") + 1]
    assert asked["ntasks-per-node"] == "1"
    assert asked["signal"].startswith("B:TERM@")
