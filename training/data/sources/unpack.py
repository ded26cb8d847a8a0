"""Compressed files, unpacked once to temporary files that can be read in any order."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dnnlib import UserError
from dnnlib.logs import Progress

FREE_BYTES = 2**31  # anything may unpack to that
MAX_RATIO = 100  # and beyond that to so many times its size: pictures are packed less

_UNPACKERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


class Spool:
    """A temporary file, which goes when its owner does; copies of it in other processes stay."""

    def __init__(self) -> None:
        try:
            folder = tempfile.mkdtemp(prefix="dudgan-unpacked-")
        except OSError as error:
            raise UserError(
                f"{tempfile.gettempdir()}: takes no temporary file ({error.strerror}); "
                "set TMPDIR to a folder that can be written"
            ) from error
        self.path = Path(folder) / "unpacked"
        weakref.finalize(self, _remove, folder, os.getpid())


@contextmanager
def open_packed(path: Path) -> Iterator[IO[bytes]]:
    """The unpacked content of `path`, a stream; of a file that is not compressed, itself.

    Raises `UserError` for a file that is damaged or truncated, wherever the reading meets that.
    """
    try:
        with path.open("rb") as raw:
            head = raw.peek(6)
            unpack = next((u for magic, u in _UNPACKERS.items() if head.startswith(magic)), None)
            if unpack is None:
                yield raw
                return
            with unpack(raw) as stream:
                yield stream
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is truncated or damaged ({error}); get the file again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check it") from error


def lay_bare(path: Path) -> tuple[Path, Spool | None]:
    """Where the content of `path` lies uncompressed: in itself, or in a temporary file.

    Raises `UserError` for a file that is damaged, truncated or a decompression bomb, and where the
    temporary folder has no room.
    """
    with open_packed(path) as stream:
        if isinstance(stream, io.BufferedReader):  # the file itself
            return path, None
        spool = Spool()
        copy(stream, spool, path, path.stat().st_size)
    return spool.path, spool


def copy(stream: IO[bytes], spool: Spool, path: Path, packed_bytes: int) -> None:
    """Write `stream`, unpacked from `packed_bytes` of `path`, to `spool`.

    Raises `UserError` where it unpacks to so much that it must be meant to fill the disk.
    """
    limit = max(FREE_BYTES, packed_bytes * MAX_RATIO)
    done = 0
    with Progress(f"Unpacking {path.name}", None, "B") as bar:
        while block := stream.read(2**20):
            done += len(block)
            if done > limit:
                raise UserError(
                    f"{path}: unpacks to more than {limit} bytes, a decompression bomb; remove it"
                )
            append(spool, block)
            bar.update(len(block))


def append(spool: Spool, data: bytes | memoryview) -> None:
    """Write `data` to the end of `spool`. Raises `UserError` where there is no room for it."""
    try:
        with spool.path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise UserError(
            f"{spool.path}: cannot be written ({error.strerror}); free the disk or set TMPDIR to a "
            "folder with more room"
        ) from error


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # forked workers inherit the file, not the duty to remove it
        shutil.rmtree(folder, ignore_errors=True)
