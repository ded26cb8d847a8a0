"""The files of a data set, in a folder or in a zip, behind one small interface."""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from dnnlib import UserError

MAX_FILE_BYTES = 2**30


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
    if not zipfile.is_zipfile(path):
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
            if path.stat().st_size > MAX_FILE_BYTES:
                raise UserError(f"{path}: is larger than {MAX_FILE_BYTES} bytes; remove it")
            return path.read_bytes()
        except OSError as error:
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
    """Files of a zip, which every process opens for itself at its first read.

    Raises `UserError` for a broken zip and for names that point out of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        entries = [entry for entry in self._zip().infolist() if not entry.is_dir()]
        for entry in entries:
            _check_entry(entry, path)
        self.names = sorted(
            entry.filename
            for entry in entries
            if not any(_hidden(part) for part in entry.filename.split("/"))
        )
        for name, following in pairwise(self.names):
            if name == following:
                raise UserError(f"{path}: holds {name} twice; make the zip again")

    def read(self, name: str) -> bytes:
        """Content of the file. Raises `UserError` where it cannot be read."""
        try:
            entry = self._zip().getinfo(name)
            if entry.file_size > MAX_FILE_BYTES:
                raise UserError(
                    f"{self.path}: {name} is larger than {MAX_FILE_BYTES} bytes; remove it"
                )
            return self._zip().read(entry)
        except (OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
            raise UserError(
                f"{self.path}: {name} cannot be read ({error}); make the zip again"
            ) from error
        except NotImplementedError as error:
            raise UserError(
                f"{self.path}: {name} is packed in a way Python cannot read ({error}); "
                "make the zip again with the deflate method"
            ) from error

    def crc(self, name: str) -> int:
        """CRC-32 of the content, from the zip's directory."""
        return self._zip().getinfo(name).CRC

    def _zip(self) -> zipfile.ZipFile:
        # A forked worker must not share the file position of its parent's handle.
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = (os.getpid(), zipfile.ZipFile(self.path))
            except (OSError, zipfile.BadZipFile) as error:
                raise UserError(f"{self.path}: is not a whole zip ({error})") from error
        return self._opened[1]

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_opened": None}


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    name = entry.filename
    if name.startswith("/") or "\\" in name or name[1:2] == ":" or ".." in name.split("/"):
        raise UserError(
            f"{path}: holds the unsafe name {name!r}; paths must be relative, with '/' and "
            "without '..'; make the zip again"
        )
    if entry.flag_bits & 1:
        raise UserError(f"{path}: {name} is encrypted; make the zip again without a password")
