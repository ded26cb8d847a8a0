"""What a run wrote of itself, read with patience: a line that is broken costs that line alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.study.history import STATS_FILE, History, history_so_far, numbers, read_lines

Record = dict[str, Any]

_NETWORK = re.compile(r"network-snapshot-(\d{6,})\.safetensors")
_OF_THE_NETWORK = ("network", "network_digest", "kimg")  # differs between the scores of a curve


@dataclass(frozen=True)
class ClassScores:
    """A metric's values within one class."""

    name: str
    values: dict[str, float]


@dataclass(frozen=True)
class Score:
    """A metric's values at a snapshot, and all that they depend on but for the network."""

    kimg: int
    values: dict[str, float]
    origin: str
    classes: tuple[ClassScores, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Records:
    """Ticks and scores of a run; `broken` counts the lines of each file that were left out."""

    history: History
    scores: tuple[Score, ...]
    broken: dict[str, int]


def read_records(run_dir: Path) -> Records:
    """All that the run in `run_dir` has told by now, possibly nothing."""
    history = history_so_far(run_dir)
    broken = {STATS_FILE: history.left_out}
    scores: list[Score] = []
    for path in sorted(run_dir.glob("metric-*.jsonl")):
        records, broken[path.name] = read_lines(path)
        scores += _scores(records)
    return Records(history, tuple(scores), {name: count for name, count in broken.items() if count})


def _scores(records: Sequence[Record]) -> list[Score]:
    """Scores of numbered networks, in their order; of several of the same, the newest."""
    scores = [score for score in map(_score, records) if score is not None]
    newest = {(score.origin, score.kimg): score for score in scores}
    return sorted(newest.values(), key=lambda score: score.kimg)


def _score(record: Record) -> Score | None:
    fakes = _table(record, "fakes")
    match = _NETWORK.fullmatch(str(fakes.get("network")))
    if match is None:
        return None
    classes = [
        ClassScores(str(each.get("class_name", "")), numbers(_table(each, "results")))
        for each in _list(record, "classes")
        if isinstance(each, dict)
    ]
    return Score(
        kimg=int(match[1]),
        values=numbers(_table(record, "results")),
        origin=_origin(record, fakes),
        classes=tuple(classes),
        warnings=tuple(map(str, _list(record, "warnings"))),
    )


def _origin(record: Record, fakes: Record) -> str:
    """What values must have in common to be compared, as `metrics.records` records it."""
    how = {name: value for name, value in fakes.items() if name not in _OF_THE_NETWORK}
    parts = [
        f"{record.get('num_real')} real and {record.get('num_fake')} generated images",
        f"{record.get('detector')} {short_digest(record.get('detector_digest'))}",
        f"{record.get('resize')}, {record.get('precision')}",
        f"data {short_digest(record.get('dataset_digest'))}",
        "mirrored" if record.get("mirror") else "not mirrored",
        ", ".join(f"{name} {value}" for name, value in how.items()),
        ", ".join(f"{name} {value}" for name, value in _table(record, "versions").items()),
    ]
    return "; ".join(filter(None, parts))


def short_digest(digest: object) -> str:
    """A digest by its first digits."""
    return str(digest)[:12]


def _table(record: Record, name: str) -> Record:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _list(record: Record, name: str) -> list[Any]:
    value = record.get(name)
    return value if isinstance(value, list) else []
