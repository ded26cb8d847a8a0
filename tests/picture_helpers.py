"""Short ways to run generate.py and to look at what it made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from network_helpers import exit_status
from PIL import Image

import generate
from training.data.images import Pixels


def made(outdir: Path, network: Path, *options: object) -> dict[str, Pixels]:
    """Pictures by file name that generate.py writes with these options."""
    assert exit_status(generate.main, "--network", network, "--outdir", outdir, *options) == 0
    paths = sorted(path for path in outdir.iterdir() if path.suffix in {".png", ".jpg", ".webp"})
    return {path.name: np.asarray(Image.open(path)) for path in paths}


def difference(a: Pixels, b: Pixels) -> int:
    """The most that two pictures differ in any pixel, of 255."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def manifest(outdir: Path) -> dict[str, dict[str, Any]]:
    """What manifest.jsonl says of each file."""
    lines = (outdir / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return {record.pop("file"): record for record in records}
