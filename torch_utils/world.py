"""Who and where a process is: passed along, never global."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dnnlib import UserError


@dataclass(frozen=True)
class World:
    """This process among all that train together, and the device it computes on."""

    device: torch.device
    rank: int = 0
    size: int = 1


def choose_device(name: str) -> torch.device:
    """The device called `auto`, `cuda`, `cpu` or `mps`; `auto` takes the fastest there is.

    Raises `UserError` when that device is not on this machine.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, is_there in there.items() if is_there)
    if not there[name]:
        usable = ", ".join(device for device, is_there in there.items() if is_there)
        raise UserError(f"--device {name}: torch finds none on this machine; usable: {usable}")
    return torch.device(name)
