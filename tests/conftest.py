"""Shared helpers of the tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import settings

os.environ.setdefault("DUDGAN_OFFLINE", "1")  # no test waits for what it does not bring along
settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")
DATA = Path(__file__).parent / "data"
Case = tuple[dict[str, Any], dict[str, torch.Tensor]]


def load_cases(name: str) -> list[Case]:
    """(keyword arguments, arrays by key) of each case of a reference-vector file."""
    with np.load(DATA / name) as file:
        meta = json.loads(str(file["meta"]))
        cases: list[Case] = [(arguments, {}) for arguments in meta]
        for entry in file.files:
            if entry != "meta":
                number, key = entry.split(".", 1)
                cases[int(number)][1][key] = torch.from_numpy(file[entry])
    return cases
