"""Files that are either whole or absent, and numbered run directories."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

    Safe when several runs start at once: whoever makes the folder owns the number.
    """
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        numbers = [
            int(match[1])
            for entry in outdir.iterdir()
            if (match := _RUN_NAME.fullmatch(entry.name))
        ]
        number = max(numbers, default=-1) + 1
        while True:
            path = outdir / f"{number:05d}-{description}"
            if not any(outdir.glob(f"{number:05d}-*")):
                try:
                    path.mkdir()
                    return path
                except FileExistsError:
                    pass
            number += 1
    except OSError as error:
        raise UserError(
            f"{outdir}: no run folder can be made there ({error.strerror}); choose another --outdir"
        ) from error


def find_run_dirs(outdir: Path, description: str) -> list[Path]:
    """Run folders `NNNNN-description` of `outdir`, newest number last."""
    if not outdir.is_dir():
        return []
    return sorted(
        entry
        for entry in outdir.iterdir()
        if (match := _RUN_NAME.fullmatch(entry.name)) and match[2] == description
    )
