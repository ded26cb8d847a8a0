"""report.html in the folder of a run: kept up to date by the run, and written anew by hand."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import torch

from dnnlib import UserError
from dnnlib.files import write_text
from dnnlib.logs import logger, track
from dnnlib.version import project_version
from training.config import TrainingConfig
from training.data.images import Pixels
from training.report.document import Page, SmallPicture, render
from training.report.films import carried_pictures
from training.report.pictures import (
    film_of,
    picture_key,
    read_small_picture,
    shown_pictures,
    small_picture,
)
from training.report.records import read_records
from training.runs import OPTIONS_FILE

REPORT_FILE = "report.html"


class RunReport:
    """Writes report.html from within a run. What fails is a warning: the run goes on.

    A refresh does not read the pictures of a run: those of earlier snapshots come from the page as
    it was, so that it takes as long after the thousandth as after the first.
    """

    def __init__(self, run_dir: Path, config: TrainingConfig) -> None:
        self._run_dir, self._config = run_dir, config
        self._new: dict[str, bytes] = {}  # since the last refresh, by key
        self._told = ""  # the warning that was given last

    def add(self, path: Path, pixels: Pixels) -> None:
        """Take note of a picture, uint8 `[H, W, C]`, that was just written to `path`."""
        with self._never_fatal():
            small = small_picture(pixels, film_of(path.name), self._config.facts)
            self._new[picture_key(path)] = small

    def refresh(self) -> None:
        """Write the page with all that the run has told by now."""
        with self._never_fatal():
            known = _carried(self._run_dir) | self._new
            write_page(self._run_dir, self._config, known)
            self._new.clear()
            self._told = ""

    @contextmanager
    def _never_fatal(self) -> Iterator[None]:
        """A page that fails must never end a training run; a cause that stays is told once."""
        try:
            yield
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            if cause != self._told:
                logger.warning(f"{REPORT_FILE} is not up to date ({cause}); training goes on")
            self._told = cause


def write_report(run_dir: Path) -> Path:
    """Write the page of the run in `run_dir`, with the pictures that it lacks; returns its path.

    Raises `UserError` for a folder that is none of a run, or cannot be written.
    """
    options = run_dir / OPTIONS_FILE
    if not options.is_file():
        raise UserError(
            f"{run_dir}: not the folder of a run, it has no {OPTIONS_FILE}; name a folder that "
            "train.py made"
        )
    config = TrainingConfig.from_json(options.read_text(encoding="utf-8"), options)
    known = _carried(run_dir)
    missing = [path for path in shown_pictures(run_dir) if picture_key(path) not in known]
    unreadable = []
    for path in track(missing, "Pictures", len(missing), "pictures"):
        try:
            known[picture_key(path)] = read_small_picture(path, config.facts)
        except UserError as error:
            logger.warning(f"the page goes without a picture: {error}")
            unreadable.append(path.name)
    return write_page(run_dir, config, known, unreadable)


def write_page(
    run_dir: Path,
    config: TrainingConfig,
    known: Mapping[str, bytes],
    unreadable: Collection[str] = (),
) -> Path:
    """Write report.html with those small pictures of `known`, by key, that belong into it.

    `unreadable` are the names of files that were tried in vain.
    """
    keys = {path.name: picture_key(path) for path in shown_pictures(run_dir)}
    pictures = {name: SmallPicture(key, known[key]) for name, key in keys.items() if key in known}
    page = Page(run_dir, config, read_records(run_dir), pictures, _written(), unreadable)
    write_text(run_dir / REPORT_FILE, render(page))
    return run_dir / REPORT_FILE


def _carried(run_dir: Path) -> dict[str, bytes]:
    """The small pictures in the page as it is, by key."""
    path = run_dir / REPORT_FILE
    if not path.is_file():
        return {}
    return carried_pictures(path.read_text(encoding="utf-8", errors="replace"))


def _written() -> str:
    now = datetime.now(UTC)
    return (
        f"Written {now:%Y-%m-%d %H:%M} UTC by dudgan {project_version()}, "
        f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}"
    )
