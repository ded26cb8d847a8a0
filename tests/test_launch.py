"""What is said before training begins, and what a dry run spends on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bad_inputs.processes import small_data
from network_helpers import complaint, exit_status

import train
from training.players import Players


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("data") / "data.zip")


def command(data: Path, *options: object) -> tuple[object, ...]:
    given = ("--outdir", data.parent / "none", "--data", data, "--cfg", "tiny", "--batch", 8)
    return (*given, "--device", "cpu", "--dry-run", *options)


@pytest.mark.parametrize(
    ("kimg", "tick", "snap", "warns"),
    [
        (2, 0.5, 1, True),
        (1, 0.25, 3, True),
        (2, 0.5, 2, False),
        (2, 4, 1, False),
        (0.5, 0.1, 1, False),
    ],
)
def test_snapshots_that_would_replace_each_other_are_warned_of(
    data: Path, capsys: pytest.CaptureFixture[str], kimg: float, tick: float, snap: int, warns: bool
) -> None:
    options = ("--kimg", kimg, "--tick", tick, "--snap", snap)
    assert exit_status(train.main, *command(data, *options)) == 0
    said = f"--tick {tick} with --snap {snap}: of the snapshots within a kimg the last alone stays"
    assert (said in capsys.readouterr().err) == warns


def test_layers_to_freeze_are_counted_one_by_one(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(train.main, *command(data, "--freezed", 4)) == 0
    line = complaint(capsys, train.main, *command(data, "--freezed", 5))
    assert "--freezed 5: D has 4 such layers; keep fewer" in line


def test_a_dry_run_makes_weights_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Players] = []
    make = Players.__init__

    def counted(self: Players, *rest: object) -> None:
        make(self, *rest)  # type: ignore[arg-type]
        if not next(self.parameters()).is_meta:
            made.append(self)

    monkeypatch.setattr(Players, "__init__", counted)
    assert exit_status(train.main, *command(data, "--freezed", 1)) == 0
    assert len(made) == 1


def test_data_with_a_name_that_no_file_of_the_run_can_hold(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.zip")
    odd.symlink_to(data)
    line = complaint(capsys, train.main, *command(odd))
    assert "its name is not UTF-8" in line and line.isprintable()


def test_switches_stand_alone_and_no_metrics_can_be_said(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(train.main, *command(data, "--mirror", "--metrics", "none")) == 0
    said = capsys.readouterr().out
    assert '"mirror": true' in said and '"metrics": []' in said


def test_metrics_of_far_more_images_than_there_are_get_a_warning(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(train.main, *command(data, "--metrics", "pr100k3,kid12_full")) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("Warning: pr100k3 makes 100,000 images at each snapshot, to compare")
