"""A score together with all that it depends on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict

from dnnlib.config import Config
from dnnlib.errors import UserError


class MetricRecord(Config):
    """One metric's values and their provenance; one line of a run's `metric-NAME.jsonl`."""

    model_config = ConfigDict(allow_inf_nan=True)  # a degenerate score is recorded as it is

    metric: str
    results: dict[str, float]
    """Value by name: the metric's own, or several with a suffix ('pr50k3_full_recall')."""
    num_real: int
    num_fake: int
    detector: str
    detector_digest: str
    resize: str
    dataset_digest: str
    mirror: bool
    fakes: dict[str, Any]
    """Where the generated images come from: `FakeImages.description`."""
    versions: dict[str, str]
    seconds: float
    """Time of the features, which the metrics of one evaluation share, and of the metric."""


def package_versions() -> dict[str, str]:
    """Versions of what computes a score, torch's with its build (+cpu, +cu130)."""
    return {
        "dudgan": _version("dudgan"),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "source checkout"


def append_record(run_dir: Path, record: MetricRecord) -> Path:
    """Append `record` as one JSON line to `run_dir/metric-NAME.jsonl`; return that path.

    Raises `UserError` where it cannot be written.
    """
    path = run_dir / f"metric-{record.metric}.jsonl"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free the disk or choose another place"
        ) from error
    return path


def format_table(records: Sequence[MetricRecord]) -> str:
    """`records` as text to read: a line for each value, and below where the values come from.

    The number in brackets leads to the provenance; only values with the same one compare.
    """
    sources: list[str] = []
    rows = [("metric", "value", "real", "generated", "")]
    for record in records:
        source = _provenance(record)
        if source not in sources:
            sources.append(source)
        note = f"[{sources.index(source) + 1}]"
        rows += [
            (name, f"{value:.5g}", f"{record.num_real}", f"{record.num_fake}", note)
            for name, value in record.results.items()
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [_aligned(row, widths) for row in rows]
    return "\n".join(lines + [f"[{index}] {source}" for index, source in enumerate(sources, 1)])


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = row
    cells = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join([f"{name:<{widths[0]}}", *cells]).rstrip()


def _provenance(record: MetricRecord) -> str:
    mirrored = ", mirrored" if record.mirror else ""
    fakes = json.dumps(record.fakes, sort_keys=True)
    return (
        f"{record.detector} {record.detector_digest[:12]}, {record.resize}; "
        f"data {record.dataset_digest[:12]}{mirrored}; generated {fakes}"
    )
