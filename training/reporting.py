"""What a run says of itself: log lines, stats.jsonl and TensorBoard."""

from __future__ import annotations

import json
import math
import resource
import sys
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from dnnlib import UserError
from dnnlib.json_lines import append_json_line
from dnnlib.logs import logger
from training.augment import AdaptiveAugment
from training.players import Players
from training.state import TrainingState

Values = dict[str, float]


class Reporter:
    """Appends a line a tick to `stats.jsonl`, the log and the TensorBoard events of a run."""

    def __init__(self, run_dir: Path, device: torch.device) -> None:
        self._path = run_dir / "stats.jsonl"
        self._events = SummaryWriter(str(run_dir))
        self._device = device

    def report(
        self,
        state: TrainingState,
        stats: dict[str, tuple[float, float]],
        seconds_per_kimg: float,
    ) -> str:
        """Write what happened since the last tick; returns it in a few words.

        `stats` are mean and standard deviation by name. Raises `UserError` where the disk refuses.
        """
        values: Values = {name: mean for name, (mean, _) in stats.items()}
        values |= horizons(state.players)
        values["Timing/seconds"] = state.seconds
        values["Timing/sec_per_kimg"] = seconds_per_kimg
        values["Resources/peak_memory_gib"] = peak_memory_gib(self._device)
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        record = {"kimg": state.nimg / 1000, "step": state.step, **finite}  # JSON knows no nan
        try:
            append_json_line(self._path, json.dumps(record))
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written ({error.strerror})") from error
        for name, value in values.items():
            self._events.add_scalar(name, value, state.nimg)
        self._events.flush()
        replaced = values.get("Gradients/replaced", 0)
        if replaced:
            logger.warning(f"non-finite gradients were replaced, {replaced:g} a phase on average")
        logger.info(f"kimg {state.nimg / 1000:<8.1f}  {summary(values)}")
        return summary(values)

    def report_values(self, state: TrainingState, values: Values) -> None:
        """Add what a snapshot measured to the TensorBoard events."""
        for name, value in values.items():
            self._events.add_scalar(name, value, state.nimg)
        self._events.flush()

    def close(self) -> None:
        """Finish the event file."""
        self._events.close()


def summary(values: Values) -> str:
    """One tick in a few words."""
    parts = [
        f"{values['Timing/sec_per_kimg']:.2f} s/kimg",
        f"G {values['Loss/G/adversarial']:.3f}",
        f"D {values['Loss/D/adversarial']:.3f}",
    ]
    if "Loss/C/label" in values:
        parts.append(f"C {values['Loss/C/label']:.3f}")
    parts += [f"{name} {int(values[name])}" for name in ("T_D", "T_C") if name in values]
    if "local_sd_mean_D" in values:
        parts.append(f"σ {values['local_sd_min_D']:.3f} to {values['local_sd_max_D']:.3f}")
    parts.append(f"{values['Resources/peak_memory_gib']:.1f} GiB")
    return "  ".join(parts)


def horizons(players: Players) -> Values:
    """How strong the noise of D and C is, such as T and p, and ADA's p."""
    values: Values = {}
    for name, view in (("D", players.view_d), ("C", players.view_c)):
        readings = {} if view is None else view.readings()
        values |= {f"{key}_{name}": float(value) for key, value in readings.items()}
    if isinstance(players.augment, AdaptiveAugment):
        values["p_augment"] = float(players.augment.p)
    return values


def peak_memory_gib(device: torch.device) -> float:
    """Most memory used so far: the device's on CUDA, elsewhere the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
