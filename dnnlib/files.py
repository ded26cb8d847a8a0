"""Files that are either whole or absent, and numbered run directories."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from dnnlib.errors import UserError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it to `path`.

    When the body raises, the temporary file is removed and `path` is left as it was. Raises
    `UserError` where the folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free the disk or choose "
            "another place"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def remove_leftovers(folder: Path) -> None:
    """Remove what `atomic_path` left in `folder` when its process was killed.

    Nobody may be writing there.
    """
    for path in folder.glob(".*.tmp"):
        path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_plain(path: Path, max_bytes: int = 2**30) -> bytes:
    """Content of a plain file.

    Raises `OSError` where it cannot be read or has more than `max_bytes`, and for pipes and
    devices, which may never say anything or never end.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    if status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", str(path))
    return path.read_bytes()


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """Where downloads and features are kept: $DUDGAN_CACHE_DIR, or the user's cache folder."""
    if configured := os.environ.get("DUDGAN_CACHE_DIR"):
        return Path(configured)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dudgan"


_RUN_NAME = re.compile(r"(\d{5})-(.*)")


def create_run_dir(outdir: Path, description: str) -> Path:
    """Make and return `outdir/NNNNN-description` with the next free number.

    Several runs that start at once get a number each. Raises `UserError` where it cannot be made.
    """
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(outdir):
            numbers = [
                int(match[1])
                for entry in outdir.iterdir()
                if (match := _RUN_NAME.fullmatch(entry.name))
            ]
            path = outdir / f"{max(numbers, default=-1) + 1:05d}-{description}"
            path.mkdir()
            return path
    except OSError as error:
        raise UserError(
            f"{outdir}: no run folder can be made there ({error.strerror}); choose another --outdir"
        ) from error


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process is in this context with `folder`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class FileLock:
    """Whether this process has the file at `path`, which is made if it is not there, to itself.

    The lock goes with `release` or with the process, kill -9 included; processes forked from it
    hold nothing. A disk that knows no locks keeps nobody out.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")
        self.held = True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
        except OSError:
            pass
        os.register_at_fork(after_in_child=partial(_forget, weakref.ref(self)))

    def release(self) -> None:
        """Let others have it."""
        self._file.close()
        self.held = False


def _forget(lock: weakref.ref[FileLock]) -> None:
    """Close a forked process's copy of a lock, which would outlive its parent's."""
    if (held := lock()) is not None:
        held.release()


def find_run_dirs(outdir: Path, description: str) -> list[Path]:
    """Run folders `NNNNN-description` of `outdir`, newest number last."""
    if not outdir.is_dir():
        return []
    return sorted(
        entry
        for entry in outdir.iterdir()
        if (match := _RUN_NAME.fullmatch(entry.name)) and match[2] == description
    )
