"""Write the files of a data set, into a zip or a folder, and take up what is there already."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """A file as it was written: name, size in bytes, CRC-32."""

    name: str
    size: int
    crc: int

    def fits(self, data: bytes) -> bool:
        """Whether `data` is the content of this file."""
        return len(data) == self.size and zlib.crc32(data) == self.crc


class Writer(Protocol):
    """Takes files one after the other. Methods raise `OSError` where the disk refuses."""

    def adopt(self, entries: Sequence[Entry]) -> bool:
        """Whether these files come next as an earlier run wrote them; then they are kept."""

    def drop_rest(self) -> None:
        """Remove what was not adopted, before anything is written."""

    def write(self, entry: Entry, data: bytes) -> None:
        """Add a file."""

    def flush(self) -> None:
        """Hand all that was written to the system: it outlives this process."""

    def finish(self) -> None:
        """Complete the data set; nothing is written afterwards."""

    def close(self) -> None:
        """Let go of what is open."""


class ZipWriter:
    """A zip, unpacked: images are packed already, and reads stay cheap.

    Date, system and permissions are fixed: equal content gives equal bytes everywhere.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._entries: list[zipfile.ZipInfo] = []

    def adopt(self, entries: Sequence[Entry]) -> bool:
        """See `Writer`."""
        start, count = self._file.tell(), len(self._entries)
        for entry in entries:
            info = _zip_info(entry, self._file.tell())
            header = info.FileHeader()
            if self._file.read(len(header)) != header or not entry.fits(
                self._file.read(entry.size)
            ):
                self._file.seek(start)
                del self._entries[count:]
                return False
            self._entries.append(info)
        return True

    def drop_rest(self) -> None:
        """See `Writer`."""
        self._file.truncate()

    def write(self, entry: Entry, data: bytes) -> None:
        """See `Writer`."""
        info = _zip_info(entry, self._file.tell())
        self._file.write(info.FileHeader() + data)
        self._entries.append(info)

    def flush(self) -> None:
        """See `Writer`."""
        self._file.flush()

    def finish(self) -> None:
        """See `Writer`."""
        with zipfile.ZipFile(self._file, "w") as archive:  # writes the directory where we are
            archive.filelist.extend(self._entries)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """See `Writer`."""
        self._file.close()


class FolderWriter:
    """A folder with the files of the data set."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._adopted: set[Path] = set()

    def adopt(self, entries: Sequence[Entry]) -> bool:
        """See `Writer`."""
        paths = [self._path / entry.name for entry in entries]
        fit = all(
            path.is_file() and entry.fits(path.read_bytes())
            for path, entry in zip(paths, entries, strict=True)
        )
        self._adopted.update(paths if fit else ())
        return fit

    def drop_rest(self) -> None:
        """See `Writer`."""
        for folder, _, files in os.walk(self._path, topdown=False):
            paths = [Path(folder) / file for file in files]
            for path in paths:
                if path not in self._adopted:
                    path.unlink()
            with suppress(OSError):  # not empty
                Path(folder).rmdir()
        self._path.mkdir(exist_ok=True)

    def write(self, entry: Entry, data: bytes) -> None:
        """See `Writer`."""
        path = self._path / entry.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def flush(self) -> None:
        """See `Writer`."""

    def finish(self) -> None:
        """See `Writer`."""

    def close(self) -> None:
        """See `Writer`."""


def _zip_info(entry: Entry, offset: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(entry.name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, 0o644 << 16
    info.file_size = info.compress_size = entry.size
    info.CRC, info.header_offset = entry.crc, offset
    return info
