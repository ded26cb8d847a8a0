"""Which files of a source belong to the split that the user wants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dnnlib import UserError

ALL = "all"

_SHARD = re.compile(r"(.+?)[-_.]\d+([-_.]of[-_.]\d+.*)?")


def choose_split(files: Sequence[Path], wanted: str, name: str) -> list[Path]:
    """Those of `files`, named like `train-00000-of-00004.parquet` or `train/0000.parquet`.

    Raises `UserError` where there are several splits and `wanted` is none of them.
    """
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(_split_of(file), []).append(file)
    if wanted == ALL or (not wanted and len(splits) == 1):
        return list(files)
    known = ", ".join([*splits, ALL])
    if not wanted:
        raise UserError(f"--source {name}: has several splits; choose one with --split: {known}")
    if wanted not in splits:
        raise UserError(f"--split {wanted}: {name} has no such split; choose one of {known}")
    return splits[wanted]


def _split_of(file: Path) -> str:
    """`train` of `train-00000-of-00004.parquet` and of `train/0000.parquet`."""
    match = _SHARD.fullmatch(file.stem)
    if match:
        return match[1]
    return file.parent.name if file.stem.isdigit() else file.stem
