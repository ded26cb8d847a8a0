"""What a run wrote of itself, `stats.jsonl` and its configuration, whatever has happened to it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib import UserError
from dnnlib.logs import logger
from training.config import TrainingConfig
from training.runs import OPTIONS_FILE

STATS_FILE = "stats.jsonl"
SIGNS = "Signs/real"  # r, the mean sign of D(real)
_TOO_LARGE = 1e100  # to be computed with; JSON knows no infinity, but Python's reads one


@dataclass(frozen=True)
class History:
    """The numbers of each tick, in the order of kimg; what a run did not write is NaN."""

    records: tuple[dict[str, float], ...]
    left_out: int = 0  # lines that tell of no tick

    @property
    def kimg(self) -> list[float]:
        """Thousand images seen at each tick."""
        return self.series("kimg")

    def has(self, name: str) -> bool:
        """Whether any tick tells `name`."""
        return not all(map(math.isnan, self.series(name)))

    def series(self, name: str) -> list[float]:
        """The value called `name` at each tick."""
        return [record.get(name, math.nan) for record in self.records]

    def at(self, share: float, name: str) -> float:
        """The value called `name` at the tick that lies at `share` (0..1) of the run."""
        return self.series(name)[round(share * (len(self.records) - 1))]


def read_history(run_dir: Path) -> History:
    """The ticks of a run that has some. Warns of broken lines; raises `UserError` without ticks."""
    if not (run_dir / STATS_FILE).is_file():
        raise UserError(f"--run {run_dir}: it has no {STATS_FILE}; wait for the first tick")
    history = history_so_far(run_dir)
    if not history.records:
        raise UserError(f"--run {run_dir}: {STATS_FILE} tells of no tick; wait for the first")
    if history.left_out:
        logger.warning(f"{run_dir / STATS_FILE}: {broken_lines(history.left_out)}")
    return history


def history_so_far(run_dir: Path) -> History:
    """All ticks that the run in `run_dir` has told of by now, possibly none.

    Where a run went back to its last checkpoint, what it did again counts.
    """
    lines, broken = read_lines(run_dir / STATS_FILE)
    ticks = [tick for tick in map(numbers, lines) if "kimg" in tick]
    kept: list[dict[str, float]] = []
    for tick in ticks:
        while kept and kept[-1]["kimg"] >= tick["kimg"]:
            kept.pop()
        kept.append(tick)
    return History(tuple(kept), broken + len(lines) - len(ticks))


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects of a file, one a line, and how many lines are none.

    A last line without an end is being written, and not counted.
    """
    if not path.is_file():
        return [], 0
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    records = [record for record in map(_parse, lines) if record is not None]
    return records, len(lines) - len(records)


def broken_lines(count: int) -> str:
    """What is said of lines that were left out."""
    return f"{count} broken line{'s' * (count > 1)} left out."


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record that can be drawn."""
    found = {name: _number(value) for name, value in record.items()}
    return {name: number for name, number in found.items() if number is not None}


def read_config(run_dir: Path) -> TrainingConfig:
    """The configuration of the run in `run_dir`. Raises `UserError` when there is none."""
    path = run_dir / OPTIONS_FILE
    if not path.is_file():
        raise UserError(f"--run {run_dir}: not the folder of a run, it has no {OPTIONS_FILE}")
    return TrainingConfig.from_json(path.read_text(encoding="utf-8"), path)


def _parse(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < _TOO_LARGE else None
