"""The files of a data set, in a folder or in a zip, behind one small interface."""

from __future__ import annotations

import errno
import lzma
import os
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from dnnlib import UserError
from dnnlib.files import read_plain

MAX_FILE_BYTES = 2**30

# What zipfile raises for damaged files, beside NotImplementedError.
ZIP_PROBLEMS = (
    *(OSError, EOFError, ValueError, RuntimeError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)

T = TypeVar("T")


class PerProcess(Generic[T]):
    """What `open` gives, opened by each process for itself at its first use.

    A forked process must not share the file position or the locks of its parent's handle, and a
    handle cannot be pickled; `open` must be picklable.
    """

    def __init__(self, open: Callable[[], T]) -> None:
        self._open = open
        self._lock = threading.Lock()
        self._opened: tuple[int, T] | None = None

    def __call__(self) -> T:
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), self._open()
            return self._opened[1]

    def __reduce__(self) -> tuple[type[PerProcess[T]], tuple[Callable[[], T]]]:
        return PerProcess, (self._open,)


class Files(Protocol):
    """Named files that can be read in any order, from any process or thread."""

    @property
    def names(self) -> list[str]:
        """Paths relative to the top, parts joined by '/', sorted; hidden files left out."""

    def read(self, name: str) -> bytes:
        """Content of the file. Raises `UserError` where it cannot be read."""

    def crc(self, name: str) -> int:
        """CRC-32 of the content."""


def open_files(path: Path) -> Files:
    """Files of the folder or zip at `path`. Raises `UserError` where it is neither."""
    if path.is_dir():
        return FolderFiles(path)
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder; check the path")
    if not path.is_file() or not zipfile.is_zipfile(path):  # a pipe may never say anything
        raise UserError(f"{path}: is neither a folder nor a whole zip; give one of these")
    return ZipFiles(path)


class FolderFiles:
    """Files below a folder; links to folders are followed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names = self._list()

    def read(self, name: str) -> bytes:
        """Content of the file. Raises `UserError` where it cannot be read."""
        path = self.root / name
        try:
            return read_plain(path, MAX_FILE_BYTES)
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise UserError(f"{path}: is {error.strerror}; remove it") from None
            raise UserError(f"{path}: cannot be read ({error.strerror}); check it") from error

    def crc(self, name: str) -> int:
        """CRC-32 of the content, which is read for it."""
        return zlib.crc32(self.read(name))

    def _list(self) -> list[str]:
        names: list[str] = []
        visited: set[str] = set()
        for folder, subfolders, files in os.walk(self.root, followlinks=True):
            real = os.path.realpath(folder)
            if real in visited:
                subfolders.clear()
                continue
            visited.add(real)
            subfolders[:] = sorted(sub for sub in subfolders if not _hidden(sub))
            relative = Path(folder).relative_to(self.root)
            names.extend((relative / file).as_posix() for file in files if not _hidden(file))
        return sorted(names)


class ZipFiles:
    """Files of a zip.

    Raises `UserError` for a broken zip and for names that point out of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = PerProcess(partial(_open_zip, path))
        entries = [entry for entry in self._zip().infolist() if not entry.filename.endswith("/")]
        for entry in entries:
            _check_entry(entry, path)
        self.names = sorted(entry.filename for entry in entries if is_visible(entry.filename))
        for name, following in pairwise(self.names):
            if name == following:
                raise UserError(f"{path}: holds {name} twice; make the zip again")

    def read(self, name: str) -> bytes:
        """Content of the file. Raises `UserError` where it cannot be read."""
        entry = self._zip().getinfo(name)
        if entry.file_size > MAX_FILE_BYTES:
            raise UserError(f"{self.path}: {name} is larger than {MAX_FILE_BYTES} bytes; remove it")
        try:
            return self._zip().read(entry)
        except NotImplementedError as error:
            raise UserError(
                f"{self.path}: {name} is packed in a way Python cannot read ({error}); "
                "make the zip again with the deflate method"
            ) from error
        except ZIP_PROBLEMS as error:
            raise UserError(
                f"{self.path}: {name} cannot be read ({error}); make the zip again"
            ) from error

    def crc(self, name: str) -> int:
        """CRC-32 of the content, from the zip's directory."""
        return self._zip().getinfo(name).CRC


class SomeFiles:
    """A choice of `files` under names of its own: `held` has the name in `files` for each."""

    def __init__(self, files: Files, held: Mapping[str, str]) -> None:
        self._files = files
        self._held = held
        self.names = sorted(held)

    def read(self, name: str) -> bytes:
        """Content of the file. Raises `UserError` where it cannot be read."""
        return self._files.read(self._held[name])

    def crc(self, name: str) -> int:
        """CRC-32 of the content."""
        return self._files.crc(self._held[name])


def files_below(files: Files, folder: str) -> SomeFiles:
    """The files below `folder`, named from there."""
    prefix = f"{folder}/"
    return SomeFiles(
        files,
        {name.removeprefix(prefix): name for name in files.names if name.startswith(prefix)},
    )


def is_visible(name: str) -> bool:
    """Whether no part of the path `name` is hidden."""
    return not any(_hidden(part) for part in name.split("/"))


def is_unsafe(name: str) -> bool:
    """Whether a name in an archive is none, or could point out of the folder it is unpacked to."""
    return (
        not name
        or name.startswith("/")
        or "\\" in name
        or name[1:2] == ":"
        or ".." in name.split("/")
    )


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except ZIP_PROBLEMS as error:
        raise UserError(f"{path}: is not a whole zip ({error}); get or make it again") from error


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    name = entry.filename
    if is_unsafe(name):
        raise UserError(
            f"{path}: holds the unsafe name {name!r}; paths must be relative, with '/' and "
            "without '..'; make the zip again"
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UserError(f"{path}: {name} is a link; make the zip again with the file itself")
    if entry.flag_bits & 1:
        raise UserError(f"{path}: {name} is encrypted; make the zip again without a password")
