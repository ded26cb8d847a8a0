"""Killed without warning, at any moment, again and again: nothing is lost but the newest work.

Fifty kills in all; $DUDGAN_KILLS is another number for each of the three tests.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from bad_inputs.processes import (
    FEATURES,
    Work,
    at_once,
    conversion,
    killed,
    measurement,
    small_data,
    small_run,
)

from torch_utils.checkpoint import load_tensors
from training.data.archive import ImageArchive
from training.snapshots import network_snapshots

KIMG = 0.32


def kills(usual: int) -> int:
    """How many."""
    return int(os.environ.get("DUDGAN_KILLS", usual))


@pytest.mark.slow
def test_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    data = small_data(tmp_path / "data.zip")

    def work(number: int) -> Work:
        return partial(small_run, tmp_path / f"killed{number}", data, KIMG)

    ended = killed(work, kills(20), longest=0.8, seed=4)
    assert at_once([partial(small_run, tmp_path / "straight", data, KIMG)]) == [0]
    expected = network(tmp_path / "straight")
    for number in range(ended):
        found = network(tmp_path / f"killed{number}")
        assert found.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def network(outdir: Path) -> dict[str, torch.Tensor]:
    """The last network of the one run in `outdir`, in which nothing half-written may be left."""
    (run_dir,) = outdir.iterdir()
    assert not list(run_dir.glob(".*"))
    tensors, metadata = load_tensors(network_snapshots(run_dir)[-1])
    assert metadata["nimg"] == str(round(KIMG * 1000))
    return tensors


def convert_once(dest: Path) -> None:
    """A conversion, unless the one before was killed when all was done but its last breath."""
    if not dest.exists():
        conversion(dest)


@pytest.mark.slow
def test_conversion_goes_on_from_its_journal(tmp_path: Path) -> None:
    def work(number: int) -> Work:
        return partial(convert_once, tmp_path / f"killed{number}.zip")

    ended = killed(work, kills(15), longest=0.5, seed=5)
    names = [f"killed{number}.zip" for number in range(ended)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    straight = tmp_path / "straight.zip"
    assert at_once([partial(conversion, straight)]) == [0]
    assert len(ImageArchive(straight)) == 1000
    assert all((tmp_path / name).read_bytes() == straight.read_bytes() for name in names)


@pytest.mark.slow
def test_measuring_again_gives_the_same_scores(tmp_path: Path) -> None:
    data = small_data(tmp_path / "data.zip", count=40)
    (tmp_path / "own.py").write_text(FEATURES)
    work = partial(measurement, data, tmp_path / "scores", tmp_path / "cache")
    killed(lambda number: work, kills(15), longest=0.4, seed=6)
    straight = partial(measurement, data, tmp_path / "straight", tmp_path / "other-cache")
    assert at_once([straight]) == [0]
    for name in ("kid50_full", "pr503_full"):
        found, expected = (records(tmp_path / place, name) for place in ("scores", "straight"))
        assert len(expected) == 1
        assert all(results == expected[0] for results in found)
    (features,) = (tmp_path / "cache" / "features").glob("*.safetensors")
    (others,) = (tmp_path / "other-cache" / "features").glob("*.safetensors")
    tensors, expected_tensors = load_tensors(features)[0], load_tensors(others)[0]
    assert torch.equal(tensors["features"], expected_tensors["features"])


def records(folder: Path, name: str) -> list[object]:
    """The results of each line: each is whole."""
    lines = (folder / f"metric-{name}.jsonl").read_text().splitlines()
    return [json.loads(line)["results"] for line in lines]
