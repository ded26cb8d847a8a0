"""Write an archive, zip or folder, that is whole or absent."""

from __future__ import annotations

import re
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from dnnlib import UserError
from dnnlib.files import atomic_path
from training.data.labels import DATASET_JSON

WriteFile = Callable[[str, bytes], None]

_SHARD = re.compile(r"\d{5}")


def archive_writer(path: Path, overwrite: bool) -> AbstractContextManager[WriteFile]:
    """A context that yields `write(name, data)`; `path` appears when it ends without an exception.

    `.zip` makes a zip, anything else a folder. Raises `UserError` where something is in the way
    that may not be replaced, or where the place cannot be written.
    """
    _check_free(path, overwrite)
    return _zip_writer(path) if is_zip_name(path) else _folder_writer(path)


def is_zip_name(path: Path) -> bool:
    """Whether an archive at `path` is to be a zip rather than a folder."""
    return path.suffix.lower() == ".zip"


@contextmanager
def _zip_writer(path: Path) -> Iterator[WriteFile]:
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:

        def write(name: str, data: bytes) -> None:
            # Fixed date, system and permissions: equal content gives equal bytes everywhere.
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data)

        yield write


@contextmanager
def _folder_writer(path: Path) -> Iterator[WriteFile]:
    temporary, replaced = (
        path.with_name(f".{path.name}.{secrets.token_hex(4)}.{state}") for state in ("tmp", "old")
    )

    def write(name: str, data: bytes) -> None:
        target = temporary / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)

    try:
        temporary.mkdir(parents=True)
        yield write
        if path.exists():
            path.rename(replaced)
        temporary.rename(path)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free the disk or choose "
            "another place"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(path: Path, overwrite: bool) -> None:
    """Refuse to replace anything but, on request, an archive of ours."""
    if not path.exists() or (not is_zip_name(path) and _file_names(path) == []):
        return
    if not overwrite:
        raise UserError(f"--dest {path}: exists; choose another place or add --overwrite")
    if is_zip_name(path):
        replaceable = path.is_file()
    else:
        ours = (name == DATASET_JSON or _SHARD.fullmatch(name) for name in _file_names(path))
        replaceable = path.is_dir() and all(ours)
    if not replaceable:
        raise UserError(
            f"--dest {path}: holds more than a data set made by this tool and is not overwritten; "
            "choose another place"
        )


def _file_names(path: Path) -> list[str]:
    """What lies in the folder `path`; a plain file counts as something in the way."""
    return [entry.name for entry in path.iterdir()] if path.is_dir() else [path.name]
