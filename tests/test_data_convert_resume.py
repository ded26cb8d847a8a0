"""Conversions that are cut short, and the same command typed again."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from data_helpers import converted, error_line, png, tool, write_folder
from PIL import Image

import dataset_tool
from training.data import convert, recipe
from training.data.images import Format, Pixels
from training.data.writers import Entry, ZipWriter

IMAGES = {f"{name}/{i}.png": png(i, 8, 8) for i, name in enumerate(["cat", "cow", "dog"] * 8)}
BROKEN = {"cat/2.png": b"x", "cow/1.png": png(7, 8, 8)[:60]}
DESTS = pytest.mark.parametrize("dest", ["dest", "dest.zip"])


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "_BATCH", 4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "source", IMAGES)


def content(path: Path) -> dict[str, bytes]:
    """Files of a data set; of a zip, its own bytes."""
    if path.is_file():
        return {"": path.read_bytes()}
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


class Encoder:
    """Counts what it encodes, and interrupts at its `fatal`-th image."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.fatal = 0, -1
        self._encode = recipe.encode_pillow
        monkeypatch.setattr(recipe, "encode_pillow", self)

    def __call__(self, image: Image.Image, image_format: Format, quality: int) -> bytes:
        self.count += 1
        if self.count == self.fatal:
            raise KeyboardInterrupt
        return self._encode(image, image_format, quality)

    def reset(self, fatal: int = -1) -> None:
        self.count, self.fatal = 0, fatal


@DESTS
def test_the_same_command_goes_on_and_ends_the_same(
    tmp_path: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    dest: str,
) -> None:
    write_folder(source, BROKEN)
    options = ("--on-error", "skip", "--workers", 1, "--resolution", 6)
    whole = content(converted(source, tmp_path / f"whole{Path(dest).suffix}", *options).path)
    encoder = Encoder(monkeypatch)
    capsys.readouterr()
    for fatal in range(1, 25, 3):
        encoder.reset(fatal)
        assert tool("--source", source, "--dest", tmp_path / dest, *options) == 130
        output = capsys.readouterr()
        assert not (tmp_path / dest).exists()
        assert "the same command goes on" in output.out
        done = int(output.out.splitlines()[-1].split()[0])
        encoder.reset()
        assert content(converted(source, tmp_path / dest, *options).path) == whole
        output = capsys.readouterr()
        left = [name for name in sorted(IMAGES | BROKEN)[done:] if name not in BROKEN]
        assert encoder.count == len(left)
        assert (f"{done} of 25 are done" in output.out) == (done > 0)
        assert all(name in output.err for name in BROKEN)  # listed again, though not read again
        assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]
        assert tool("--source", source, "--dest", tmp_path / dest, *options) == 2
        _remove(tmp_path / dest)
        capsys.readouterr()


@DESTS
def test_what_was_damaged_since_is_done_again(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, dest: str
) -> None:
    whole = content(converted(source, tmp_path / f"whole{Path(dest).suffix}").path)
    encoder = Encoder(monkeypatch)
    for damage, left in _damages(dest):
        encoder.reset(fatal=18)
        args = ("--source", source, "--dest", tmp_path / dest)
        assert tool(*args, "--workers", 1) == 130
        damage(tmp_path / f".{dest}.partial")
        encoder.reset()
        assert content(converted(source, tmp_path / dest, "--workers", 1).path) == whole
        assert encoder.count == left
        _remove(tmp_path / dest)


def _damages(dest: str) -> list[tuple[Callable[[Path], None], int]]:
    """Ways to damage a draft of 16 images out of 24, and how many are left to do then."""

    def journal_cut(draft: Path) -> None:
        path = draft / "journal.jsonl"
        path.write_bytes(path.read_bytes()[:-30])

    def journal_lost(draft: Path) -> None:
        (draft / "journal.jsonl").unlink()

    def journal_garbage(draft: Path) -> None:
        with (draft / "journal.jsonl").open("ab") as file:
            file.write(b"\x00\xff{}\n")

    def data_short(draft: Path) -> None:
        if dest.endswith(".zip"):
            os.truncate(draft / "data.zip", (draft / "data.zip").stat().st_size - 300)
        else:
            (draft / "data" / "00000" / "img00000015.png").unlink()

    def data_changed(draft: Path) -> None:
        path = draft / ("data.zip" if dest.endswith(".zip") else "data/00000/img00000013.png")
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.write_bytes(data)

    return [
        (journal_cut, 12),
        (journal_lost, 24),
        (journal_garbage, 8),
        (data_short, 12),
        (data_changed, 12),
    ]


@DESTS
def test_another_command_starts_anew(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, dest: str
) -> None:
    encoder = Encoder(monkeypatch)
    path = tmp_path / dest
    for number, options in enumerate(
        [("--resolution", 4), ("--max-images", 3), ("--format", "jpeg"), ("--on-error", "skip")]
    ):
        encoder.reset(fatal=14)
        assert tool("--source", source, "--dest", path, "--workers", 1) == 130
        encoder.reset()
        other = content(converted(source, path, *options, "--workers", 1).path)
        assert encoder.count == (3 if number == 1 else 24)
        same = converted(source, tmp_path / f"other{number}{path.suffix}", *options)
        assert other == content(same.path)
        _remove(path)


# Each of two workers packs two batches of two, and pauses before the next image.
PAUSING_RUN = """
import itertools, sys, time
from dnnlib.cli import run
from training.data import convert, recipe
import dataset_tool
encode, calls, convert._BATCH = recipe.encode_pillow, itertools.count(1), 2
def pausing(*args):
    time.sleep(1.5 * (next(calls) == 5))
    return encode(*args)
recipe.encode_pillow = pausing
run(dataset_tool.main, sys.argv[1:])
"""


@DESTS
def test_kill_9_loses_little_and_leaves_no_process(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str], dest: str
) -> None:
    whole = content(converted(source, tmp_path / f"whole{Path(dest).suffix}").path)
    args = ["--source", str(source), "--dest", str(tmp_path / dest)]
    command = [sys.executable, "-c", PAUSING_RUN, *args, "--workers", "2"]
    process = subprocess.Popen(command, cwd=Path(dataset_tool.__file__).parent)
    journal = tmp_path / f".{dest}.partial" / "journal.jsonl"
    for _ in _patiently():
        if journal.exists() and journal.read_bytes().count(b"\n") == 5:
            break
    children = _children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(children) == 2 and not (tmp_path / dest).exists()
    for _ in _patiently():
        if not any(_alive(child) for child in children):
            break
    capsys.readouterr()
    assert content(converted(source, tmp_path / dest).path) == whole
    assert "conversion: 8 of 24 are done" in capsys.readouterr().out


def test_two_runs_do_not_write_the_same_place(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = tmp_path / ".dest.zip.partial"
    draft.mkdir()
    with (draft / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert tool("--source", source, "--dest", tmp_path / "dest.zip") == 2
        assert "another dataset_tool.py is writing it" in error_line(capsys)
        assert draft.exists()
    converted(source, tmp_path / "dest.zip")


def test_a_disk_that_fills_up_is_told_and_given_back(
    tmp_path: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, count = ZipWriter.write, iter(range(100))

    def full(self: ZipWriter, entry: Entry, data: bytes) -> None:
        if next(count) == 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, entry, data)

    monkeypatch.setattr(ZipWriter, "write", full)
    assert tool("--source", source, "--dest", tmp_path / "dest.zip") == 2
    line = error_line(capsys)
    assert "dest.zip: cannot be written (No space left on device); free the disk" in line
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


def test_a_dead_worker_ends_the_run_and_names_the_images(
    tmp_path: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parent, decode = os.getpid(), recipe.decode_image

    def deadly(data: bytes, name: str) -> Pixels:
        if name.endswith("cow/10.png") and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(data, name)

    monkeypatch.setattr(recipe, "decode_image", deadly)
    args = ("--source", source, "--dest", tmp_path / "dest.zip")
    assert tool(*args, "--workers", 3) == 1
    line = error_line(capsys)
    names = sorted(IMAGES)
    first = names.index("cow/10.png") // 4 * 4
    assert f"between {names[first]} and {names[first + 3]}" in line
    assert f"{first} of 24 images are done" in line
    assert len(converted(source, tmp_path / "dest.zip", "--workers", 1)) == 24


def test_killed_between_the_old_and_the_new_data_set(tmp_path: Path, source: Path) -> None:
    """The moment in which an overwritten folder is away and the new one is not there yet."""
    path = tmp_path / "dest"
    converted(source, path, "--max-images", 3)
    rename, encoder_calls = Path.rename, []

    def killed(self: Path, target: Path) -> Path:
        encoder_calls.append(rename(self, target))
        raise SystemExit(9)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        assert tool("--source", source, "--dest", path, "--overwrite") == 9
    assert encoder_calls and not path.exists()
    assert len(converted(source, path, "--overwrite")) == 24
    assert {entry.name for entry in tmp_path.iterdir()} == {"source", "dest"}


def _remove(path: Path) -> None:
    for file in sorted(path.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    path.unlink() if path.is_file() else path.rmdir()


def _patiently() -> Iterator[None]:
    """For up to half a minute; then the test fails."""
    for _ in range(3000):
        yield
        time.sleep(0.01)
    pytest.fail("waited for half a minute")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
