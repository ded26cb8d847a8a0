"""benchmarks/generate.py on next to nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from network_helpers import complaint, exit_status

from benchmarks.generate import main, single_loop, speed, untrained
from training.generation.load import make_synthesizer
from training.generation.synthesis import StyleConfig


def test_rows_have_both_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.json"
    options = ("--resolutions", "8,16", "--seconds", 0.01, "--batch", 4, "--device", "cpu")
    assert exit_status(main, *options, "--out", out) == 0
    (record,) = json.loads(out.read_text())["generate"]
    assert (record["cfg"], record["precision"], record["cuda_graphs"]) == ("tiny", "fp32", False)
    assert [(row["resolution"], row["way"], row["batch"]) for row in record["rows"]] == [
        (8, "single", 1),
        (8, "batches", 4),
        (16, "single", 1),
        (16, "batches", 4),
    ]
    for single, batches in zip(record["rows"][::2], record["rows"][1::2], strict=True):
        ratio = batches["images_per_second"] / single["images_per_second"]
        assert single["times_single"] == 1
        assert batches["times_single"] == pytest.approx(ratio, rel=0.01)
    assert "images/s" in capsys.readouterr().out


def test_speed_counts_images_not_calls() -> None:
    made: list[int] = []
    found = speed(made.extend, chunk=3, seconds=0.01)
    assert made == list(range(len(made))) and len(made) % 3 == 0
    assert found >= len(made) / 0.05


def test_the_single_loop_makes_the_same_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    network = untrained("tiny", 16)
    synthesizer = make_synthesizer(network, torch.device("cpu"), StyleConfig())
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(
        "benchmarks.generate.to_uint8", lambda images: seen.append(images) or images
    )
    single_loop(synthesizer.generator, range(8, 11))
    expected = synthesizer.pictures([8, 9, 10], torch.tensor([8, 9, 0])).float() / 127.5 - 1
    assert (torch.cat(seen).clamp(-1, 1) - expected).abs().max() < 0.02


def test_wrong_resolutions(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--resolutions: takes numbers" in complaint(capsys, main, "--resolutions", "big")
