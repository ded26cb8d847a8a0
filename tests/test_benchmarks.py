"""The judge of generated digits, which must see shapes and not places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from network_helpers import exit_status, tiny_config
from torch import Tensor

from benchmarks import digits
from benchmarks.digits import describe, generate
from benchmarks.judge import CANVAS, INK, Judge, accuracy, class_spread, crop_to_ink, train_judge
from training.networks.generator import Generator
from training.players import Players
from training.state import TrainingState

CPU = torch.device("cpu")
SHAPES = {
    "bar": torch.ones(6, 2),
    "cross": torch.tensor([[0.0, 1, 0], [1, 1, 1], [0, 1, 0]]),
    "hook": torch.tensor([[1.0, 1, 1], [1, 0, 0], [1, 0, 0]]),
}


def digit(shape: str, row: int = 0, column: int = 0, scale: int = 1) -> Tensor:
    """A shape with its upper left corner at a place, `[1, 16, 16]` in 0..1."""
    ink = SHAPES[shape].repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    page = torch.zeros(1, 16, 16)
    page[0, row : row + ink.shape[0], column : column + ink.shape[1]] = ink
    return page


def generator() -> Generator:
    torch.manual_seed(0)
    return Players(tiny_config([str(number) for number in range(10)])).G_ema


def test_cropping_drops_the_place_and_keeps_the_shape() -> None:
    shifted = torch.stack([digit("cross"), digit("cross", 9, 4), digit("cross", 13, 13)])
    cropped = crop_to_ink(shifted)
    assert cropped.shape == (3, 1, CANVAS, CANVAS)
    assert torch.equal(cropped[0], cropped[1]) and torch.equal(cropped[0], cropped[2])
    assert cropped[0, 0, 0, 0] == 0 and cropped[0, 0, 8, 8] > 0.9


def test_cropping_drops_the_size() -> None:
    bars = crop_to_ink(torch.stack([digit("bar"), digit("bar", 1, 1, scale=2)]))
    assert torch.equal(bars[0], bars[1])


def test_faint_pixels_are_no_ink() -> None:
    smudged = digit("hook", 4, 4)
    smudged[0, 15, 15] = INK
    assert torch.equal(crop_to_ink(smudged[None]), crop_to_ink(digit("hook")[None]))


def test_empty_page_stays_empty() -> None:
    assert torch.equal(crop_to_ink(torch.zeros(1, 1, 16, 16)), torch.zeros(1, 1, CANVAS, CANVAS))


def test_copies_have_no_spread_wherever_they_are() -> None:
    copies = torch.stack([digit("hook", row, 2 * row) for row in range(6)])
    assert class_spread(copies, torch.zeros(6)) == 0


def test_different_shapes_have_spread() -> None:
    mixed = torch.stack([digit("hook"), digit("cross"), digit("bar")])
    assert class_spread(mixed, torch.zeros(3)) > 0.2


def test_spread_is_within_classes_and_each_counts_the_same() -> None:
    hooks, varied = [digit("hook")] * 6, [digit("hook"), digit("cross")]
    digits, labels = torch.stack(hooks + varied), torch.tensor([4] * 6 + [7] * 2)
    of_varied = class_spread(torch.stack(varied), torch.zeros(2))
    assert class_spread(digits, labels) == pytest.approx(of_varied / 2)
    apart = torch.stack([digit("hook")] * 2 + [digit("cross")] * 2)
    assert class_spread(apart, torch.tensor([0, 0, 1, 1])) == 0


def test_judge_learns_shapes_and_knows_what_it_has_not_seen() -> None:
    torch.manual_seed(1)
    labels = torch.arange(240) % 3
    names = list(SHAPES)
    places = torch.randint(0, 4, (240, 2)).tolist()
    digits = torch.stack(
        [digit(names[label], *place, scale=2) for label, place in zip(labels, places, strict=True)]
    )
    digits = (digits + 0.1 * torch.rand_like(digits)).clamp(0, 1)
    judge, held_out_accuracy = train_judge(digits[:200], labels[:200], epochs=20)
    assert not judge.training
    assert held_out_accuracy > 0.8
    assert accuracy(judge, digits[200:], labels[200:]) > 0.8
    assert accuracy(judge, digits[200:], (labels[200:] + 1) % 3) < 0.2


def test_examined_digits_are_the_same_each_time_with_classes_in_turn() -> None:
    G = generator()
    images, labels = generate(G, 110)
    assert (images.shape, images.dtype) == ((110, 1, 16, 16), torch.uint8)
    assert labels.tolist() == [number % 10 for number in range(110)]
    torch.manual_seed(5)
    assert torch.equal(generate(G, 110)[0], images)


def test_progress_line_has_both_numbers() -> None:
    state = TrainingState(tiny_config(), CPU)
    line = describe("tiny", 61.2, state, (0.5, 0.25))
    assert line == "tiny: 61 s, 0.0 kimg, accuracy 0.500, spread 0.250"


def test_a_row_names_its_setting_and_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits, "RESULTS", tmp_path)
    monkeypatch.setattr(digits, "NUM_JUDGED", 20)
    judge = Judge(CANVAS).eval()
    monkeypatch.setattr(digits, "train_judge", lambda *_: (judge, 0.9))
    overrides = '{"kimg": 0.032, "batch": 32}'
    for name in ("a", "b"):
        arguments = ["--threads", 1, "--name", name, "--set", overrides, "--work", tmp_path]
        assert exit_status(digits.main, *arguments) == 0
    lines = (tmp_path / "digits.jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert (first["name"], second["name"], first["kimg"]) == ("a", "b", 0.032)
    assert first["set"] == {"kimg": 0.032, "batch": 32}
    assert "1 thread of " in first["device"] and first["torch"] == torch.__version__
