"""The files of tars, read where they lie: nothing is unpacked to its name."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from dnnlib import UserError
from dnnlib.logs import Progress
from training.data.files import MAX_FILE_BYTES, is_unsafe, is_visible
from training.data.sources.unpack import lay_bare, open_packed


class TarFiles:
    """Files of one tar or of several shards, compressed ones unpacked to temporary files first.

    A name that several shards have gets the shard's before its last part. Raises `UserError` for
    tars that are truncated or damaged, and for entries that are unsafe, doubled, links or devices.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._shards = [_Shard(path) for path in paths]
        self._places: dict[str, tuple[int, int, int]] = {}
        doubled = _doubled([shard.places for shard in self._shards])
        for number, shard in enumerate(self._shards):
            for name, place in shard.places.items():
                shown = name
                if name in doubled:
                    folder, slash, file = name.rpartition("/")
                    shown = f"{folder}{slash}{shard.path.name.partition('.')[0]}@{file}"
                if shown in self._places:
                    raise UserError(
                        f"{shard.path}: holds {name}, as does another shard of that name; rename it"
                    )
                self._places[shown] = (number, *place)
            shard.places.clear()
        self.names = sorted(name for name in self._places if is_visible(name))

    def read(self, name: str) -> bytes:
        """Content of the file. Raises `UserError` where it cannot be read."""
        number, offset, size = self._places[name]
        shard = self._shards[number]
        if size > MAX_FILE_BYTES:
            raise UserError(
                f"{shard.path}: {name} is larger than {MAX_FILE_BYTES} bytes; remove it"
            )
        try:
            with shard.plain.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise UserError(f"{shard.path}: cannot be read ({error.strerror}); check it") from error
        if len(data) < size:
            raise UserError(f"{shard.path}: ends in the middle of {name}; get the file again")
        return data

    def crc(self, name: str) -> int:
        """CRC-32 of the content, which is read for it."""
        return zlib.crc32(self.read(name))


class _Shard:
    """One tar: `plain` is where it lies uncompressed, `places` offset and size of each file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plain, self._spool = lay_bare(path)
        self.places: dict[str, tuple[int, int]] = {}
        with self.plain.open("rb") as file, Progress(f"Listing {path.name}", None, "files") as bar:
            for entry, _ in tar_entries(file, path, "r:"):
                name = entry.name.removeprefix("./")
                if name in self.places:
                    raise UserError(f"{path}: holds {name} twice; make the tar again")
                self.places[name] = (entry.offset_data, entry.size)
                bar.update(1)


def tar_entries(
    stream: IO[bytes], path: Path, mode: str
) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """The plain files of a tar, one after the other, with the tar to read them from.

    `mode` is 'r:' for a file, 'r|' for a stream. Raises `UserError`, with `path` for the tar, for
    one that is truncated or damaged and for entries that are unsafe.
    """
    try:
        with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
            while (entry := tar.next()) is not None:
                tar.members.clear()  # it would keep all of them
                check_entry(entry, path)
                if entry.isfile():
                    yield entry, tar
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path}: is no whole tar, but truncated or damaged ({error}); get the file again"
        ) from error


def check_entry(entry: tarfile.TarInfo, path: Path) -> None:
    """Raise `UserError` for an entry that is not simply a file or folder below the top."""
    name = entry.name
    if is_unsafe(name):
        raise UserError(
            f"{path}: holds the unsafe name {name!r:.200}; paths must be relative, with '/' and "
            "without '..'; make the tar again"
        )
    if entry.isdir() or (entry.isfile() and not entry.issparse()):
        return
    kinds = {
        "a link": entry.issym() or entry.islnk(),
        "a device": entry.isdev(),
        "a sparse file": entry.issparse(),
    }
    kind = next((kind for kind, found in kinds.items() if found), "no plain file")
    raise UserError(f"{path}: {name} is {kind}; make the tar again with plain files only")


def first_entry(path: Path) -> str:
    """The name of the first entry of a tar, compressed or not; '' where there is none."""
    try:
        with open_packed(path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            entry = tar.next()
            return "" if entry is None else entry.name.removeprefix("./")
    except tarfile.TarError:
        return ""


def _doubled(listings: Sequence[dict[str, tuple[int, int]]]) -> set[str]:
    """Names that are in more than one of `listings`."""
    seen: set[str] = set()
    doubled: set[str] = set()
    for listing in listings:
        doubled |= seen & listing.keys()
        seen |= listing.keys()
    return doubled
