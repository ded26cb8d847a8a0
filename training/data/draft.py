"""A data set in the making: hidden until it is whole, and taken up again after an interruption."""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from dnnlib import Config, UserError
from dnnlib.files import write_text
from dnnlib.logs import printable, track
from training.data.labels import DATASET_JSON
from training.data.recipe import Packed
from training.data.writers import Entry, FolderWriter, Writer, ZipWriter

_SHARD = re.compile(r"\d{5}")


class Step(Config):
    """A line of a draft's journal: what became of the next images of the selection.

    `done` images have been dealt with by now; those at `positions` were written as `entries`, those
    of `left_out` were not, for the reason given. `shape` is the (H, W, C) of the first image.
    """

    done: int
    positions: tuple[int, ...]
    entries: tuple[Entry, ...]
    left_out: tuple[tuple[int, str], ...]
    shape: tuple[int, int, int] | None


class Draft:
    """The files written so far, and the journal from which a later run goes on.

    `done`, `positions`, `entries`, `left_out` and `shape` are those of `Step`, from the beginning.
    """

    def __init__(self, folder: Path, zipped: bool, job: str) -> None:
        self.done = 0
        self.positions: list[int] = []
        self.entries: list[Entry] = []
        self.left_out: list[tuple[int, str]] = []
        self.shape: tuple[int, int, int] | None = None
        self.content = folder / ("data.zip" if zipped else "data")
        self._writer: Writer = (ZipWriter if zipped else FolderWriter)(self.content)
        journal = folder / "journal.jsonl"
        text = journal.read_text(encoding="utf-8", errors="replace") if journal.exists() else ""
        lines = text.split("\n")
        sound = self._take_up(lines[1:]) if lines[:1] == [job] else 0
        self._writer.drop_rest()
        self._committed = len(self.entries), len(self.left_out)
        # Written anew, so that nothing broken stays among the lines that hold.
        write_text(journal, "".join(f"{line}\n" for line in [job, *lines[1 : 1 + sound]]))
        self._journal = journal.open("a", encoding="utf-8")

    def add(self, outcome: Packed | UserError) -> None:
        """Write the next image of the selection, or note why it is left out."""
        position = self.done
        self.done += 1
        if isinstance(outcome, UserError):
            self.left_out.append((position, printable(str(outcome))))  # names need not be UTF-8
            return
        number = len(self.entries)
        name = f"{number // 1000:05d}/img{number:08d}{outcome.suffix}"
        entry = Entry(name, len(outcome.data), outcome.crc)
        self._writer.write(entry, outcome.data)
        self.entries.append(entry)
        self.positions.append(position)
        self.shape = self.shape or outcome.shape

    def commit(self) -> None:
        """Note what was added in the journal: a later run goes on from here."""
        written, left_out = self._committed
        step = Step(
            done=self.done,
            positions=tuple(self.positions[written:]),
            entries=tuple(self.entries[written:]),
            left_out=tuple(self.left_out[left_out:]),
            shape=self.shape,
        )
        self._writer.flush()
        self._journal.write(step.model_dump_json() + "\n")
        self._journal.flush()
        self._committed = len(self.entries), len(self.left_out)

    def finish(self, name: str, data: bytes, crc: int) -> None:
        """Write the last file and complete the data set at `content`."""
        self._writer.write(Entry(name, len(data), crc), data)
        self._writer.finish()

    def close(self) -> None:
        """Close all files."""
        self._writer.close()
        self._journal.close()

    def _take_up(self, lines: Sequence[str]) -> int:
        """Adopt what the lines of a journal tell, as far as it is there; the lines that hold."""
        steps = track(lines, "Comparing what is done already", len(lines), "steps")
        for sound, line in enumerate(steps):
            try:
                step = Step.model_validate_json(line)
            except ValidationError:  # the line that was being written when the end came
                return sound
            if not self._writer.adopt(step.entries):
                return sound
            self.done, self.shape = step.done, step.shape
            self.positions += step.positions
            self.entries += step.entries
            self.left_out += step.left_out
        return len(lines)


def is_zip_name(path: Path) -> bool:
    """Whether a data set at `path` is to be a zip rather than a folder."""
    return path.suffix.lower() == ".zip"


def draft_folder(dest: Path) -> Path:
    """Where the data set for `dest` is while it is in the making."""
    return dest.with_name(f".{dest.name}.partial")


@contextmanager
def open_draft(dest: Path, job: str) -> Iterator[Draft]:
    """A draft that becomes the data set at `dest`, a zip if its name says so, else a folder.

    It is put there when the context ends without an exception and `finish` was called. After a
    `UserError` nothing stays behind. Any other end, kill -9 included, leaves the draft, and the
    next one opened for the same `job` (one line of text) goes on with it. Raises `UserError` where
    the place cannot be written, and where another process is at work on it.
    """
    folder = draft_folder(dest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, dest):
            try:
                yield from _draft(folder, dest, job)
            except (UserError, OSError):
                shutil.rmtree(folder, ignore_errors=True)
                raise
    except OSError as error:
        raise UserError(
            f"{dest}: cannot be written ({error.strerror or error}); free the disk or choose "
            "another place"
        ) from error


def _draft(folder: Path, dest: Path, job: str) -> Iterator[Draft]:
    draft = Draft(folder, is_zip_name(dest), job)
    try:
        yield draft
    finally:
        draft.close()
    _replace(dest, draft.content)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(folder: Path, dest: Path) -> Iterator[None]:
    """Keep other processes away; the lock of one that was killed is gone with it."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"--dest {dest}: another dataset_tool.py is writing it; wait for that one"
            ) from None
        yield


def _replace(dest: Path, content: Path) -> None:
    """Put `content` at `dest`; a folder that is there (see `check_free`) goes once it is safe."""
    replaced = content.with_name("replaced")
    if dest.is_dir():
        shutil.rmtree(replaced, ignore_errors=True)
        dest.rename(replaced)
    content.replace(dest)


def check_free(dest: Path, overwrite: bool) -> None:
    """Raise `UserError` where `dest` holds anything but, on request, a data set of ours."""
    zipped = is_zip_name(dest)
    if not dest.exists() or (not zipped and _file_names(dest) == []):
        return
    if not overwrite:
        raise UserError(f"--dest {dest}: exists; choose another place or add --overwrite")
    if zipped:
        replaceable = dest.is_file()
    else:
        ours = (name == DATASET_JSON or _SHARD.fullmatch(name) for name in _file_names(dest))
        replaceable = dest.is_dir() and all(ours)
    if not replaceable:
        raise UserError(
            f"--dest {dest}: holds more than a data set made by this tool and is not overwritten; "
            "choose another place"
        )


def _file_names(path: Path) -> list[str]:
    """What lies in the folder `path`; a plain file counts as something in the way."""
    return [entry.name for entry in path.iterdir()] if path.is_dir() else [path.name]
