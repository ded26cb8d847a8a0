"""Disks that are full or read-only: one line says so, and what was whole stays whole.

The disks are small file systems in memory, which only root can mount.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from bad_inputs.processes import small_data
from conftest import DATA
from network_helpers import complaint, exit_status, tiny_config, write_network
from PIL import Image

import calc_metrics
import convert
import dataset_tool
import generate
import interpolation
import train
from dnnlib.logs import logged_to_file, logger, setup_logging
from torch_utils.checkpoint import load_state
from training.snapshots import load_network

RUN = ("--cfg", "tiny", "--device", "cpu", "--batch", 8, "--workers", 0, "--tick", 0.008)


class Disk:
    """A file system of its own, mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        try:
            self._mount("-t", "tmpfs", "-o", "size=64m", "tmpfs")
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no file system can be mounted here")

    def change(self, options: str) -> None:
        """`size=...`, `ro` or `rw`."""
        self._mount("-o", f"remount,{options}")

    def unmount(self) -> None:
        """Let it go, whatever still uses it."""
        subprocess.run(["umount", "-l", self.path], check=True)

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, str(self.path)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.unmount()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("data") / "data.zip")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    path = tmp_path_factory.mktemp("network") / "net.safetensors"
    return write_network(path, tiny_config(data=str(data), size=(8, 8)))


def used(path: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_training_on_a_full_disk_keeps_its_checkpoint_and_goes_on_later(
    tmp_path: Path, disk: Disk, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(outdir: Path, kimg: float) -> tuple[object, ...]:
        return ("--data", data, "--outdir", outdir, *RUN, "--snap", 1, "--kimg", kimg)

    assert exit_status(train.main, *command(disk.path, 0.016)) == 0
    (run,) = disk.path.iterdir()
    disk.change(f"size={used(disk.path) // 1024 + 1500}k")
    line = complaint(capsys, train.main, *command(disk.path, 0.048))
    assert "cannot be written (No space left on device)" in line
    assert 16 <= load_state(run / "training-state.pt", torch.device("cpu"))["nimg"] < 48
    assert not list(run.glob(".*"))
    disk.change("size=64m")
    assert exit_status(train.main, *command(disk.path, 0.048)) == 0
    assert list(disk.path.iterdir()) == [run]
    assert exit_status(train.main, *command(tmp_path / "straight", 0.048)) == 0
    (straight,) = (tmp_path / "straight").iterdir()
    ours, theirs = (load_network(str(path)).players.state_dict() for path in (run, straight))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_a_run_that_finds_no_room_leaves_nothing(
    disk: Disk, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.change("size=8k")
    line = complaint(
        capsys, train.main, "--data", data, "--outdir", disk.path, *RUN, "--kimg", 0.016
    )
    assert "No space left on device" in line
    assert used(disk.path) == 0


def test_pictures_on_a_full_disk_are_whole(
    disk: Disk, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.change("size=96k")
    out = disk.path / "pictures"
    options = ("--network", network, "--outdir", out, "--count", 400, "--device", "cpu")
    line = complaint(capsys, generate.main, *options)
    assert "cannot be written (No space left on device); free the disk" in line
    pictures = list(out.glob("*.png"))
    assert pictures and not list(out.glob(".*"))
    for picture in pictures:
        with Image.open(picture) as opened:
            opened.load()


def test_data_sets_on_a_full_disk_leave_nothing(
    disk: Disk, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.change("size=64k")
    source = ("--source", "builtin:mnist5k", "--workers", 1)
    for dest in ("data.zip", "folder"):
        line = complaint(capsys, dataset_tool.main, *source, "--dest", disk.path / dest)
        assert f"{disk.path / dest}: cannot be written (No space left on device)" in line
        assert list(disk.path.iterdir()) == []
    made = ("--network", network, "--device", "cpu")
    line = complaint(capsys, generate.main, *made, "--out", disk.path / "x.zip", "--count", 999)
    assert "x.zip: cannot be written (No space left on device)" in line
    assert list(disk.path.iterdir()) == []


def test_a_video_on_a_full_disk_leaves_nothing(
    disk: Disk, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.change("size=8k")
    options = ("--network", network, "--device", "cpu", "--outdir", disk.path, "--seconds", 4)
    assert exit_status(interpolation.main, *options) == 1
    assert "is the disk full?" in capsys.readouterr().err.splitlines()[-1]
    assert used(disk.path) == 0


def test_a_log_on_a_full_disk_is_no_trouble(disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    disk.change("size=8k")
    setup_logging()
    with logged_to_file(disk.path / "log.txt"):
        for number in range(500):
            logger.info(f"line {number}")
    assert capsys.readouterr().err == ""


def test_scores_are_shown_where_features_find_no_room(
    tmp_path: Path,
    disk: Disk,
    network: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(disk.path / "cache"))
    disk.change("size=8k")
    options = ("--network", network, "--metrics", "kid9", "--device", "cpu")
    assert exit_status(calc_metrics.main, *options, "--outdir", tmp_path / "scores") == 0
    shown = capsys.readouterr()
    assert "features are not kept for the next time" in shown.err and "kid9 " in shown.out
    assert used(disk.path) == 0


def test_read_only_disks_are_named(
    disk: Disk, data: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("--data", data, "--outdir", disk.path, *RUN, "--kimg", 0.008)
    assert exit_status(train.main, *run) == 0
    disk.change("ro")
    made, inside = ("--network", network, "--device", "cpu"), disk.path / "inside"
    (run_dir,) = disk.path.iterdir()
    for script, options in (
        (train.main, ("--resume", run_dir, "--kimg", 1)),
        (train.main, ("--data", data, "--outdir", inside, *RUN, "--kimg", 0.008)),
        (generate.main, (*made, "--outdir", inside, "--seeds", 0)),
        (interpolation.main, (*made, "--outdir", inside, "--seconds", 0.1)),
        (calc_metrics.main, (*made, "--outdir", inside, "--metrics", "kid9")),
        (dataset_tool.main, ("--source", data, "--dest", disk.path / "x.zip", "--workers", 1)),
        (convert.main, (DATA / "legacy_stylegan2ada.pkl", disk.path / "x.safetensors")),
    ):
        line = complaint(capsys, script, *options)
        assert "Read-only file system" in line and str(disk.path) in line
