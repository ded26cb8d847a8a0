"""HuggingFace's parquet files: images as bytes in one column, labels in another."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

from dnnlib import UserError
from training.data.files import PerProcess
from training.data.labels import make_text_labels
from training.data.sources.base import ForeignSource
from training.data.sources.options import SourceOptions
from training.data.sources.parquet_columns import BYTES, Columns

# What pyarrow raises for damaged files.
_PROBLEMS = (OSError, ValueError, TypeError, LookupError, RuntimeError, MemoryError)
_BATCH_ROWS = 32
_BATCHES_KEPT = 16  # threads ask for rows a little out of order


class ParquetSource(ForeignSource):
    """The rows of one or several files, in the order given.

    The columns are those that the files' own description names as image and class label, or else
    the only ones that can be; `options` choose among several. Raises `UserError` for files that are
    truncated or lack the columns, and where the package pyarrow is not installed.
    """

    def __init__(self, path: str | Path, files: Sequence[Path], options: SourceOptions) -> None:
        opened = [_open(file) for file in files]
        columns = Columns(opened[0].schema_arrow, files[0])
        self._column = columns.image(options.image_column)
        label = columns.label(options.label_column)
        for file, content in zip(files, opened, strict=True):
            missing = {self._column, label or self._column} - {*content.schema_arrow.names}
            if missing:
                raise UserError(f"{file}: lacks the column {missing.pop()} of {files[0]}; check it")
        names = [
            f"{file}[{row}]"
            for file, content in zip(files, opened, strict=True)
            for row in range(content.metadata.num_rows)
        ]
        if not names:
            raise UserError(f"{path}: has no row; check the files")
        labels = None
        if label is not None:
            raw = [value for file in files for value in _read_column(file, label)]
            if len(raw) != len(names):
                raise UserError(
                    f"{path}: column {label} has {len(raw)} values for {len(names)} images; get "
                    "the files again"
                )
            source = f"{path}: column {label}"
            labels = make_text_labels(raw, names, source, columns.class_names(label))
        super().__init__(path, names, labels)
        groups = [
            _Group(file, number, content.metadata.row_group(number).num_rows)
            for file, content in zip(files, opened, strict=True)
            for number in range(content.num_row_groups)
        ]
        self._rows = PerProcess(partial(_Rows, groups, self._column))

    def where(self, index: int) -> str:
        """Image `index` in errors."""
        return self.names[index]

    def fetch(self, index: int) -> bytes:
        """The file of image `index`."""
        try:
            value = self._rows().read(index)
        except UserError:
            raise
        except _PROBLEMS as error:
            raise UserError(
                f"{self.where(index)}: cannot be read ({_line(error)}); get the file again"
            ) from error
        data = value.get(BYTES) if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise UserError(
                f"{self.where(index)}: column {self._column} has no bytes of an image; save the "
                "data set with its images embedded"
            )
        return data


@dataclass(frozen=True)
class _Group:
    """Row group `number` of `file`."""

    file: Path
    number: int
    num_rows: int


class _Rows:
    """Values of one column, read on from the last one; the latest few hundred are kept.

    Going further back starts over at the row group.
    """

    def __init__(self, groups: Sequence[_Group], column: str) -> None:
        self._groups = groups
        self._column = column
        self._starts = list(accumulate((group.num_rows for group in groups), initial=0))
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, Any]] = deque(maxlen=_BATCHES_KEPT)
        self._stream: Iterator[Any] = iter(())
        self._at = -1, 0  # the group that the stream is in, and the row it goes on with

    def read(self, row: int) -> object:
        """The value in `row`, counted over all groups, as a Python object."""
        with self._lock:
            for start, values in self._kept:
                if start <= row < start + len(values):
                    return values[row - start].as_py()
            group = bisect_right(self._starts, row) - 1
            if self._at[0] != group or self._at[1] > row:
                self._stream = self._open_group(group)
                self._at = group, self._starts[group]
            return self._read_on(row)

    def _read_on(self, row: int) -> object:
        group, start = self._at
        for batch in self._stream:
            values = batch.column(0)
            self._kept.append((start, values))
            start += len(values)
            self._at = group, start
            if row < start:
                return values[row - start].as_py()
        raise ValueError("the file ends before that")

    def _open_group(self, number: int) -> Iterator[Any]:
        group = self._groups[number]
        batches: Iterator[Any] = _open(group.file).iter_batches(
            _BATCH_ROWS, row_groups=[group.number], columns=[self._column], use_threads=False
        )
        return batches


def _read_column(file: Path, column: str) -> list[Any]:
    try:
        values: list[Any] = _open(file).read([column], use_threads=False).column(0).to_pylist()
    except _PROBLEMS as error:
        raise UserError(
            f"{file}: column {column} cannot be read ({_line(error)}); get the file again"
        ) from error
    return values


def _open(file: Path) -> Any:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise UserError(
            f"{file}: is a parquet file, which the package pyarrow reads; install it: "
            "pip install pyarrow"
        ) from None
    try:
        return parquet.ParquetFile(file, memory_map=True)
    except _PROBLEMS as error:
        raise UserError(
            f"{file}: is no whole parquet file ({_line(error)}); get it again"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
