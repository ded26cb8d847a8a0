"""Work in processes that can be killed, and that come up in milliseconds."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch
from data_helpers import png, write_zip
from network_helpers import CLASSES
from training_helpers import CPU, SMALL

import calc_metrics
import dataset_tool
from dnnlib.cli import run
from torch_utils.world import World
from training.launch import LaunchRequest, launch

Work = Callable[[], object]

FEATURES = """
import torch

class Brightness:
    name, digest, resize, precision, num_features = "brightness", "0" * 64, "none", "fp32", 3

    def __init__(self, device):
        pass

    def __call__(self, images):
        return images.float().mean(dim=(2, 3)).expand(-1, 3) + torch.arange(3)
"""


@cache
def server() -> ForkServerContext:
    """Starts processes that are copies of one that has imported all this."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join(sys.path)
        )  # it learns of our folders in no other way
        forkserver.ensure_running()
    return context


def at_once(works: Sequence[Work]) -> list[int | None]:
    """Exit status of each of `works`, begun at the same moment in a process each."""
    context = server()
    barrier = context.Barrier(len(works))
    processes = [context.Process(target=_begin, args=(work, barrier)) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
        process.kill()
    return [process.exitcode for process in processes]


def killed(work: Callable[[int], Work], kills: int, longest: float, seed: int) -> int:
    """Begin `work(0)` again and again and kill it after up to `longest` seconds; `work(1)` follows
    when it ends before, and so on. The last one ends in peace; how many have ended."""
    moments = random.Random(seed)
    done = ended = 0
    while done < kills:
        process = server().Process(target=_begin, args=(work(ended), None))
        process.start()
        process.join(moments.uniform(0.01, longest))
        assert process.exitcode in {None, 0}
        if process.exitcode is None and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
            done += 1
        process.join()
        ended += process.exitcode == 0
    assert at_once([work(ended)]) == [0]
    return ended + 1


def _begin(work: Work, barrier: multiprocessing.synchronize.Barrier | None) -> None:
    torch.set_num_threads(1)
    if barrier is not None:
        barrier.wait()
    work()


def small_data(path: Path, count: int = 4) -> Path:
    """`count` grey images of 8x8 pixels for each of the `CLASSES`."""
    names = [f"{name}/{index}.png" for name in CLASSES for index in range(count)]
    return write_zip(path, {name: png(seed, 8, 8, 1) for seed, name in enumerate(names)})


def small_run(outdir: Path, data: Path, kimg: float) -> None:
    """Train a very small run to its end, with a checkpoint every fourth step."""
    given = SMALL | {"cfg": "tiny", "kimg": kimg, "tick": 0.032, "snap": 1, "workers": 0, "keep": 2}
    request = LaunchRequest(
        outdir=outdir, data=str(data), given=given, resume=None, exp_id=None, dry_run=False
    )
    launch(request, World(CPU), lambda config, dataset: None)


def conversion(dest: Path) -> None:
    """dataset_tool.py with a thousand digits."""
    options = ["--resolution", "48", "--max-images", "1000", "--workers", "1"]
    run(dataset_tool.main, ["--source", "builtin:mnist5k", "--dest", str(dest), *options])


def measurement(data: Path, outdir: Path, cache_dir: Path) -> None:
    """calc_metrics.py with features that cost nothing."""
    os.environ["DUDGAN_CACHE_DIR"] = str(cache_dir)
    own = cache_dir.parent / "own.py"
    if not own.exists():
        own.write_text(FEATURES)
    names = ["--metrics", "kid50_full,pr503_full", "--detector", f"{own}:Brightness"]
    run(
        calc_metrics.main,
        ["--fakes", str(data), "--data", str(data), "--outdir", str(outdir), *names],
    )
