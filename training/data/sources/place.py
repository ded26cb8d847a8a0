"""What stands where the user points to: one file, a folder, or several files of one kind."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from dnnlib import UserError
from training.data.files import FolderFiles
from training.data.sources.tar import first_entry
from training.data.sources.unpack import open_packed

BUILTIN_PREFIX = "builtin:"
BUILTIN = {"builtin:mnist5k": Path(__file__).resolve().parents[3] / "assets" / "mnist5k.zip"}

_HEAD_BYTES = 512
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


class Place:
    """`name` as the user typed it, and the files or the folder that it stands for.

    `paths` has several where `name` is a pattern: `train-*.parquet` or `shard-{000..019}.tar`.
    Raises `UserError` where nothing is there.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.paths = _expand(name)

    @property
    def path(self) -> Path:
        """The first of the files, or the folder."""
        return self.paths[0]

    @cached_property
    def is_folder(self) -> bool:
        """Whether this is one folder, not files."""
        return len(self.paths) == 1 and self.path.is_dir()

    @cached_property
    def files(self) -> FolderFiles:
        """The files of the folder."""
        return FolderFiles(self.path)

    @cached_property
    def head(self) -> bytes:
        """The beginning of the first file, unpacked; b'' where there is none."""
        if not self.path.is_file():
            return b""
        with open_packed(self.path) as stream:
            return bytes(stream.read(_HEAD_BYTES))

    @cached_property
    def first_entry(self) -> str:
        """The name of the first entry of a tar; '' of anything else."""
        return first_entry(self.path) if self.is_tar else ""

    @property
    def is_tar(self) -> bool:
        """Whether the first file is a tar, by its content or by its name."""
        return self.head[257:262] == b"ustar" or self.named(".tar", ".tar.gz", ".tgz")

    def named(self, *suffixes: str) -> bool:
        """Whether all the files have one of these endings."""
        return not self.is_folder and all(
            path.name.lower().endswith(suffixes) for path in self.paths
        )

    def inside(self, suffix: str) -> list[Path]:
        """The files of the folder that end in `suffix`."""
        if not self.is_folder:
            return []
        return [self.path / name for name in self.files.names if name.lower().endswith(suffix)]


def _expand(name: str) -> tuple[Path, ...]:
    pattern = Path(name)
    if pattern.exists():
        return (pattern,)
    if name.startswith(BUILTIN_PREFIX):
        return (BUILTIN.get(name, pattern),)
    paths = [Path(one) for one in _expand_range(name)]
    if any(character in name for character in "*?["):
        relative = pattern.relative_to(pattern.anchor)
        paths = sorted(Path(pattern.anchor).glob(str(relative)))
    missing = next((path for path in paths if not path.exists()), None)
    if not paths or missing is not None:
        raise UserError(f"--source {missing or name}: there is no such file or folder; check it")
    return tuple(paths)


def _expand_range(name: str) -> list[str]:
    """The names that webdataset's `{000..019}` stands for, or `name` alone."""
    match = _RANGE.search(name)
    if match is None:
        return [name]
    first, last = int(match[1]), int(match[2])
    if not first <= last < first + 100_000:
        raise UserError(f"--source {name}: {match[0]} is no range of files; write {{000..019}}")
    return [
        name[: match.start()] + f"{number:0{len(match[1])}d}" + name[match.end() :]
        for number in range(first, last + 1)
    ]
