"""Results of benchmarks in one JSON file a device, each beside what it was measured on."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from dnnlib import UserError
from dnnlib.files import write_text

Record = dict[str, Any]


def device_facts(device: torch.device) -> Record:
    """The device's name, the threads that a CPU uses, and the versions that matter."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        name = f"{_processor()}, {threads} thread{'s' * (threads > 1)} of {os.cpu_count()} cores"
    return {
        "device": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def put(path: Path, kind: str, setting: Record, measured: Record) -> None:
    """Put a record of what was `measured` into the list called `kind` of a JSON file.

    It takes the place of one of the same setting on the same device. Raises `UserError` when the
    file is not one of ours.
    """
    results: dict[str, list[Record]] = {}
    if path.is_file():
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
            results.setdefault(kind, [])
        except (ValueError, AttributeError):
            raise UserError(
                f"--out {path}: not a file of benchmark results; name another"
            ) from None
    same = setting | {"device": measured["device"]}
    records = results.setdefault(kind, [])
    at = next((n for n, record in enumerate(records) if record | same == record), len(records))
    records[at : at + 1] = [setting | measured]
    write_text(path, json.dumps(results, indent=1) + "\n")
