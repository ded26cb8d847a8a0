"""Killed without warning, at any moment, again and again: nothing is lost but the newest work."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest
import torch
from data_helpers import labelled, png, write_zip
from training_helpers import CPU, SMALL

from torch_utils.checkpoint import load_tensors
from torch_utils.world import World
from training.data.dataset import DataConfig, open_dataset
from training.launch import LaunchRequest, launch
from training.snapshots import network_snapshots

KILLS = 20


def train(outdir: Path, data: Path) -> None:
    """Train a very small run to its end, with a checkpoint every fourth step."""
    torch.set_num_threads(1)
    given = SMALL | {"cfg": "tiny", "kimg": 1.6, "tick": 0.032, "snap": 1, "workers": 0, "keep": 2}
    request = LaunchRequest(
        outdir=outdir, data=str(data), given=given, resume=None, exp_id=None, dry_run=False
    )
    launch(request, World(CPU), lambda config, dataset: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = labelled([index % 3 for index in range(12)])
    for index, name in enumerate(sorted(files.keys() - {"dataset.json"})):
        files[name] = png(index, 8, 8, 1)
    path = write_zip(tmp_path_factory.mktemp("data") / "data.zip", files)
    open_dataset(DataConfig(path=str(path))).check_classes()
    return path


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(tmp_path: Path, data: Path) -> None:
    """A fork server has everything imported: a process comes up in milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_kill"])
    moments = random.Random(4)
    killed = finished = 0
    while killed < KILLS or finished == 0:
        process = context.Process(target=train, args=(tmp_path / f"killed{finished}", data))
        process.start()
        process.join(moments.uniform(0.05, 1.5) if killed < KILLS else None)
        if process.exitcode is None and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        finished += process.exitcode == 0
    train(tmp_path / "straight", data)
    expected = network(tmp_path / "straight")
    for number in range(finished):
        tensors = network(tmp_path / f"killed{number}")
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())


def network(outdir: Path) -> dict[str, torch.Tensor]:
    """The last network of the one run in `outdir`, in which nothing half-written may be left."""
    (run_dir,) = outdir.iterdir()
    assert not list(run_dir.glob(".*"))
    tensors, metadata = load_tensors(network_snapshots(run_dir)[-1])
    assert metadata["nimg"] == "1600"
    return tensors
