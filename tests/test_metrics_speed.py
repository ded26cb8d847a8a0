"""python -m benchmarks.metrics, at a tiny size."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from network_helpers import complaint, exit_status

from benchmarks.metrics import main

STAGES = ["resize", "network", "together", "cache hit", "FID", "KID", "precision and recall"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DUDGAN_OFFLINE", "1")


def test_every_stage_is_measured_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, names = tmp_path / "metrics.json", ("inception", "efficientnet-lite0:fp16")
    options = [part for name in names for part in ("--detector", name)]
    args = ("--images", 8, "--size", 16, "--batch", 8, "--device", "cpu", "--out", out)
    assert exit_status(main, *options, *args) == 0
    (record,) = json.loads(out.read_text())["metrics"]
    assert (record["images"], record["size"]) == (8, 16)
    seconds = record["seconds"]
    assert list(seconds) == ["decode", *names]
    assert [list(seconds[name]) for name in names] == [STAGES, STAGES]
    assert all(value > 0 for stages in seconds.values() for value in stages.values())
    printed = capsys.readouterr().out
    assert "inception: its weights cannot be had" in printed and "random weights" in printed
    assert printed.count(" s ") == printed.count(" img/s") == 1 + 2 * 4
    # The machine's own cache is neither read nor written.
    assert os.environ["DUDGAN_CACHE_DIR"] == str(tmp_path / "cache")
    assert not (tmp_path / "cache" / "features").exists()


def test_detectors_without_stages_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    members = "name = digest = resize = precision = ''; num_features = 1"
    path.write_text(f"class Mine:\n    {members}\n    def __init__(self, device): pass\n")
    with path.open("a") as file:
        file.write("    def __call__(self, images): pass\n")
    said = complaint(capsys, main, "--images", 8, "--detector", f"{path}:Mine", "--device", "cpu")
    assert "has no stages of its own" in said
    said = complaint(capsys, main, "--images", 8, "--detector", "resnet", "--device", "cpu")
    assert "there is no 'resnet'" in said
