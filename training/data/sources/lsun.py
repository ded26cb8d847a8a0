"""LSUN's lmdb folders: a key for each image, its value the bytes of an image file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from dnnlib import UserError
from dnnlib.logs import track
from training.data.files import PerProcess
from training.data.sources.base import ForeignSource

DATA_FILE = "data.mdb"


class LsunSource(ForeignSource):
    """The images of an lmdb folder, without labels.

    Raises `UserError` for a database that is truncated or none, and where the package lmdb is not
    installed.
    """

    def __init__(self, path: Path) -> None:
        with _opened(path) as environment:
            _check_size(path, environment)
            with environment.begin() as transaction:
                keys = transaction.cursor().iternext(keys=True, values=False)
                total = transaction.stat()["entries"]
                self._keys = [bytes(key) for key in track(keys, "Listing", total, "images")]
        if not self._keys:
            raise UserError(f"{path}: the database holds no image; check it")
        names = [key.decode("utf-8", "backslashreplace") for key in self._keys]
        super().__init__(path, names, None)
        self._folder = path
        self._lock = PerProcess(threading.Lock)

    def fetch(self, index: int) -> bytes:
        """The file of image `index`."""
        # A process can have a database open once, and must not use one that it inherited.
        with self._lock(), _opened(self._folder) as environment, environment.begin() as transaction:
            value = transaction.get(self._keys[index])
        return b"" if value is None else bytes(value)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        lmdb = import_module("lmdb")
    except ImportError:
        raise UserError(
            f"{path}: is an lmdb database, which the package lmdb reads; install it: "
            "pip install lmdb"
        ) from None
    try:
        with lmdb.open(
            str(path), readonly=True, lock=False, readahead=False, create=False
        ) as environment:
            yield environment
    except lmdb.Error as error:
        raise UserError(f"{path}: is no readable lmdb database ({error}); check it") from error


def _check_size(path: Path, environment: Any) -> None:
    """Refuse a truncated file, which would end the process with a bus error when it is read."""
    wanted = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    found = (path / DATA_FILE).stat().st_size
    if found < wanted:
        raise UserError(
            f"{path}/{DATA_FILE}: must have {wanted} bytes, found {found}; it is truncated, get it "
            "again"
        )
