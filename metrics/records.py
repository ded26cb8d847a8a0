"""A score together with all that it depends on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict

from dnnlib.config import Config
from dnnlib.errors import UserError
from dnnlib.json_lines import append_json_line
from dnnlib.version import project_version


class _Record(Config):
    # A degenerate score is recorded as it is, as a string since JSON has no NaN.
    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")


class ClassScores(_Record):
    """The values of a metric within one class."""

    class_name: str
    num_real: int
    num_fake: int
    results: dict[str, float]
    """Value by name, as in the record; NaN where the class has too few images."""


class MetricRecord(_Record):
    """One metric's values and their provenance; one line of a run's `metric-NAME.jsonl`.

    Two values of a metric compare only where all from `num_real` to `versions` is equal.
    """

    metric: str
    results: dict[str, float]
    """Value by name: the metric's own, or several with a suffix ('pr50k3_full_recall')."""
    classes: tuple[ClassScores, ...] = ()
    """Values within each class, the worst first."""
    warnings: tuple[str, ...] = ()
    """Why not to trust the values."""
    num_real: int
    num_fake: int
    detector: str
    detector_digest: str
    resize: str
    precision: str
    """Arithmetic of the detector."""
    dataset_digest: str
    mirror: bool
    fakes: dict[str, Any]
    """Where the generated images come from: `FakeSource.description`."""
    versions: dict[str, str]
    seconds: float
    """Time of the features, which the metrics of one evaluation share, and of the metric."""


def package_versions() -> dict[str, str]:
    """Versions of what computes a score, torch's with its build (+cpu, +cu130)."""
    return {
        "dudgan": project_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def append_record(run_dir: Path, record: MetricRecord) -> Path:
    """Append `record` as one JSON line to `run_dir/metric-NAME.jsonl`; return that path.

    Raises `UserError` where it cannot be written.
    """
    path = run_dir / f"metric-{record.metric}.jsonl"
    try:
        append_json_line(path, record.model_dump_json())
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free the disk or choose another place"
        ) from error
    return path


def format_table(records: Sequence[MetricRecord]) -> str:
    """`records` as text: a line for each value, values within classes, where they come from.

    The number in brackets leads to the provenance; only values with the same one, of as many
    images, compare.
    """
    sources = list(dict.fromkeys(map(_source, records)))
    rows = [("metric", "value", "real", "generated", "")]
    for record in records:
        counts = f"{record.num_real}", f"{record.num_fake}"
        rows += [
            (name, _number(value), *counts, _note(record, sources))
            for name, value in record.results.items()
        ]
    lines = _aligned(rows)
    groups: dict[tuple[int, int], list[MetricRecord]] = {}
    for record in records:
        if record.classes:
            groups.setdefault((record.num_real, record.num_fake), []).append(record)
    for group in groups.values():
        lines += ["", *_class_table(group, sources)]
    if groups:
        lines.append("")
    return "\n".join(lines + [f"[{index}] {source}" for index, source in enumerate(sources, 1)])


def _class_table(records: Sequence[MetricRecord], sources: Sequence[str]) -> list[str]:
    """A line for each class and a column for each value, the worst of the first metric first.

    All records are of the same images.
    """
    first = records[0].classes
    names = [name for record in records for name in record.classes[0].results]
    notes = [_note(record, sources) for record in records for _ in record.classes[0].results]
    values: dict[str, list[str]] = {scores.class_name: [] for scores in first}
    for record in records:
        for scores in record.classes:
            values[scores.class_name] += map(_number, scores.results.values())
    rows = [["class, worst first", "real", "generated", *names], ["", "", "", *notes]]
    rows += [
        [of.class_name, f"{of.num_real}", f"{of.num_fake}", *values[of.class_name]] for of in first
    ]
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([f"{name:<{widths[0]}}", *cells]).rstrip())
    return lines


def _number(value: float) -> str:
    return f"{value:.5g}"


def _note(record: MetricRecord, sources: Sequence[str]) -> str:
    return f"[{sources.index(_source(record)) + 1}]"


def _source(record: MetricRecord) -> str:
    """All that a record depends on but for the counts, which have columns of their own."""
    fakes = ", ".join(f"{name} {_short(value)}" for name, value in record.fakes.items())
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    return (
        f"{record.detector} {_short(record.detector_digest)}, {record.resize}, {record.precision}; "
        f"data {_short(record.dataset_digest)}{', mirrored' * record.mirror}; "
        f"generated: {fakes}; {versions}"
    )


def _short(value: object) -> str:
    """`value` as text, a digest by its first digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", str(value))
