"""Scores that a run takes: of which values, with what provenance, and who may fail at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_helpers import png, write_two_classes, write_zip
from network_helpers import complaint, exit_status

import calc_metrics
import train
from training.snapshots import load_network

SMALL = ("--cfg", "tiny", "--batch", 8, "--tick", 0.008, "--snap", 1, "--kimg", 0.008)
TWO = ("--gpus", 2, "--batch-gpu", 4)
OWN = """
import os

import torch
import torch.distributed as dist

from dnnlib.errors import UserError


class Brightness:
    name, digest, resize, precision, num_features = "brightness", "00", "none", "fp32", 3

    def __init__(self, device):
        {start}

    def __call__(self, images):
        return images.float().mean(dim=(1, 2, 3))[:, None] * torch.tensor([1.0, 0.5, 0.2])

    def probabilities(self, features):
        return features.softmax(dim=1)
"""
ON_ONE = "if dist.is_initialized() and dist.get_rank() == 1: "
# Each loads it once before training and again at the snapshot.
FAILS_LATER = (
    "os.environ['LOADS'] = os.environ.get('LOADS', '') + 'x'; "
    "assert dist.get_rank() == 0 or len(os.environ['LOADS']) < 2, 'no room'"
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))


def own(folder: Path, start: str = "pass") -> str:
    """A detector in a file of its own, that does `start` when it is made."""
    (folder / "own.py").write_text(OWN.format(start=start))
    return f"{folder}/own.py:Brightness"


def trained(folder: Path, detector: str, metrics: str, *options: object) -> Path:
    """The folder of a run of one step."""
    data = write_two_classes(folder)
    where = ("--outdir", folder / "runs", "--data", data, "--device", "cpu")
    scores = ("--metrics", metrics, "--detector", detector)
    assert exit_status(train.main, *where, *SMALL, *scores, *options) == 0
    (run_dir,) = (folder / "runs").iterdir()
    return run_dir


def record(run_dir: Path, metric: str, line: int = -1) -> dict[str, Any]:
    """A record without its time."""
    lines = (run_dir / f"metric-{metric}.jsonl").read_text().splitlines()
    found: dict[str, Any] = json.loads(lines[line])
    return {name: value for name, value in found.items() if name != "seconds"}


def test_training_and_calc_metrics_write_the_same_record(tmp_path: Path) -> None:
    detector = own(tmp_path)
    run_dir = trained(tmp_path, detector, "kid12_full")
    network = run_dir / "network-snapshot-000000.safetensors"
    options = ("--network", network, "--metrics", "kid12_full", "--detector", detector)
    assert exit_status(calc_metrics.main, *options, "--device", "cpu") == 0
    ours, theirs = (record(run_dir, "kid12_full", line) for line in (0, 1))
    assert ours.pop("results") == pytest.approx(theirs.pop("results"), rel=1e-4)
    assert json.dumps(ours) == json.dumps(theirs)  # in the same order too
    assert ours["fakes"]["network_digest"] == load_network(str(network)).digest
    assert (ours["fakes"]["precision"], ours["fakes"]["kimg"]) == ("fp32", 0)


def test_only_values_that_say_how_good_a_generator_is_decide_which_is_best(tmp_path: Path) -> None:
    run_dir = trained(tmp_path, own(tmp_path), "is20,acc12")
    assert record(run_dir, "is20")["results"].keys() == {"is20_mean", "is20_std"}
    assert record(run_dir, "acc12")["results"].keys() == {"acc12", "acc12_real"}
    best = {path.name for path in run_dir.glob("network-best*")}
    assert best == {"network-best.safetensors", "network-best-acc12.safetensors"}


def test_a_detector_that_one_process_lacks_is_left_out_by_all(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    detector = own(tmp_path, ON_ONE + "raise UserError('own: no weights here')")
    run_dir = trained(tmp_path, detector, "kid12_full", *TWO)
    reason = "process 1 of 2 failed (UserError: own: no weights here)"
    assert f"training goes without kid12_full: {reason}" in capfd.readouterr().err
    assert not list(run_dir.glob("metric-*"))


def test_a_detector_that_fails_in_one_process_ends_no_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_dir = trained(tmp_path, own(tmp_path, FAILS_LATER), "kid12_full", *TWO)
    said = capfd.readouterr().err
    reason = "process 1 of 2 failed (AssertionError: no room)"
    assert f"the metrics failed (RunError: {reason}); training goes on" in said
    assert load_network(str(run_dir)).nimg == 8


@pytest.mark.parametrize(
    ("size", "channels", "metric", "said"),
    [
        (32, 4, "kid4", "kid4 takes grey or RGB images, found 4 channels"),
        (32, 4, "ppl2_wend_9", "ppl2_wend_9 takes grey or RGB images, found 4 channels"),
        (8, 3, "ppl2_wend_9", "images of at least 16 pixels a side, found 8x8; leave it out"),
        (16, 3, "ppl_zend_9", "found 16x16, of which it sees the face"),
    ],
)
def test_images_that_no_score_is_for_are_told_before_training(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    size: int,
    channels: int,
    metric: str,
    said: str,
) -> None:
    data = write_zip(
        tmp_path / "d.zip", {f"{i}.png": png(i, size, size, channels) for i in range(4)}
    )
    where = ("--outdir", tmp_path / "runs", "--data", data, "--device", "cpu")
    line = complaint(capsys, train.main, *where, *SMALL, "--metrics", metric)
    assert line.startswith("Error: --metrics: ") and said in line
    assert not (tmp_path / "runs").exists()
