"""For torchrun: processes of which some fail while the others wait for a sum."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import click
import torch
import torch.distributed as dist

from dnnlib import UserError
from dnnlib.cli import run
from torch_utils.distributed import sum_
from torch_utils.torchrun import run_in_world
from torch_utils.world import World

ROOT = Path(__file__).parent.parent
ERRORS = {"user": UserError("--data x: broken"), "bug": KeyError("unforeseen")}


def run_failing(who: str, how: str, device: str) -> subprocess.CompletedProcess[str]:
    """Two processes of this script, of which those in `who`, such as '0,1', fail `how`."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *launcher, __file__, who, how, device],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@click.command()
@click.argument("who")
@click.argument("how")
@click.argument("device")
def main(who: str, how: str, device: str) -> int:
    """Run `fail`."""
    if device == "cpu":  # as NCCL's, while others wait
        dist.destroy_process_group = lambda: time.sleep(150)  # type: ignore[assignment]
    return run_in_world(fail, 1, device, (who, how))


def fail(world: World, who: str, how: str) -> int:
    """Sums over all processes, before the second of which the ranks `who` raise."""
    total = torch.ones(1, device=world.device)
    sum_(total, world)
    assert total.item() == world.size
    if str(world.rank) in who.split(","):
        raise ERRORS[how]
    sum_(total, world)
    return int(total)  # waits for the device


if __name__ == "__main__":
    run(main)
