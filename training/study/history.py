"""What a run wrote of itself: its configuration and `stats.jsonl`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib import UserError
from training.config import TrainingConfig
from training.runs import OPTIONS_FILE

STATS_FILE = "stats.jsonl"
SIGNS = "Signs/real"  # r, the mean sign of D(real)


@dataclass(frozen=True)
class History:
    """A record a tick, in the order of kimg; what a run did not write is NaN."""

    records: tuple[dict[str, Any], ...]

    @property
    def kimg(self) -> list[float]:
        """Thousand images seen at each tick."""
        return self.series("kimg")

    def has(self, name: str) -> bool:
        """Whether any tick tells `name`."""
        return not all(map(math.isnan, self.series(name)))

    def series(self, name: str) -> list[float]:
        """The value called `name` at each tick."""
        values = (record.get(name) for record in self.records)
        return [math.nan if value is None else float(value) for value in values]

    def at(self, share: float, name: str) -> float:
        """The value called `name` at the tick that lies at `share` (0..1) of the run."""
        return self.series(name)[round(share * (len(self.records) - 1))]


def read_history(run_dir: Path) -> History:
    """The ticks of the run in `run_dir`.

    Where a run went back to its last checkpoint, what it did again counts. A last line without an
    end is being written and left out. Raises `UserError` without ticks, and for a broken line.
    """
    path = run_dir / STATS_FILE
    if not path.is_file():
        raise UserError(f"--run {run_dir}: it has no {STATS_FILE}; wait for the first tick")
    records: list[dict[str, Any]] = []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    for number, line in enumerate(lines, start=1):
        record = _parse(line, path, number)
        while records and records[-1]["kimg"] >= record["kimg"]:
            records.pop()
        records.append(record)
    if not records:
        raise UserError(f"--run {run_dir}: {STATS_FILE} is empty; wait for the first tick")
    return History(tuple(records))


def read_config(run_dir: Path) -> TrainingConfig:
    """The configuration of the run in `run_dir`. Raises `UserError` when there is none."""
    path = run_dir / OPTIONS_FILE
    if not path.is_file():
        raise UserError(f"--run {run_dir}: not the folder of a run, it has no {OPTIONS_FILE}")
    return TrainingConfig.from_json(path.read_text(encoding="utf-8"), path)


def _parse(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
        float(record["kimg"])
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path}: line {number} is no record of a tick, found {line!r:.60}; remove that line"
        ) from None
    return dict(record)
