"""Calm output: log lines on the terminal and in a file, and progress bars that degrade to lines."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, TypeVar

from tqdm import tqdm

logger = logging.getLogger("dudgan")
T = TypeVar("T")

_SECONDS_BETWEEN_LINES = 15.0


class _TqdmHandler(logging.Handler):
    """Writes each record above a progress bar that may be running."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        tqdm.write(self.format(record), file=stream)
        stream.flush()


def printable(text: str) -> str:
    """`text` with all that a terminal would obey or cannot show, but newlines, written as \\x1b."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = printable(super().format(record))
        return f"Warning: {message}" if record.levelno == logging.WARNING else message


def setup_logging() -> None:
    """Send `logger` to the terminal: plain messages, warnings on stderr. Idempotent."""
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not any(isinstance(handler, _TqdmHandler) for handler in logger.handlers):
        handler = _TqdmHandler()
        handler.setFormatter(_PlainFormatter())
        logger.addHandler(handler)


class _QuietFileHandler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing of a full disk: what matters more than a log will fail and tell it."""


@contextmanager
def logged_to_file(path: Path) -> Iterator[None]:
    """Append `logger`'s records with timestamps to `path` meanwhile."""
    handler = _QuietFileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):
            handler.close()


class Progress:
    """A tqdm bar on a terminal; elsewhere a plain line every fifteen seconds.

    `total` is the number of `unit`s, None when unknown.
    """

    def __init__(self, title: str, total: float | None, unit: str, initial: float = 0) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = initial
        self.note = ""
        self._last_line = time.monotonic()
        self._bar: tqdm[NoReturn] | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                desc=title,
                total=total,
                unit=unit,
                initial=initial,
                unit_scale=unit == "B",
                dynamic_ncols=True,
                leave=False,
            )

    def update(self, count: float, note: str | None = None) -> None:
        """Report that `count` more units are done; `note` replaces what stands after the bar."""
        self.done += count
        if note is not None:
            self.note = note
        if self._bar is not None:
            if note is not None:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            of = f" of {self.total:g}" if self.total is not None else ""
            note_text = f"  {self.note}" if self.note else ""
            logger.info(f"{self.title}: {self.done:.6g}{of} {self.unit}{note_text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def track(items: Iterable[T], title: str, total: int, unit: str) -> Iterator[T]:
    """Yield `items` while showing progress."""
    with Progress(title, total, unit) as bar:
        for item in items:
            yield item
            bar.update(1)
