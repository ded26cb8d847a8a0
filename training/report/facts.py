"""What a page says in words: how far a run has come, and what it was made of."""

from __future__ import annotations

import math
import re
from pathlib import Path

from training.config import TrainingConfig
from training.data.archive import describe_shape
from training.report.axis import kimg_text, number_text
from training.report.records import Records
from training.study.history import History
from training.study.stages import noisy_networks

_DEVICE = re.compile(r"^Device +(.*)$", flags=re.MULTILINE)  # as `training.launch` logs it
# Values of the newest tick that stand above all charts.
_NEWEST = (
    ("T_D", "T of D"),
    ("T_C", "T of C"),
    ("p_augment", "p of augmentation"),
    ("Timing/sec_per_kimg", "seconds per kimg"),
    ("Resources/peak_memory_gib", "GiB at most"),
)

Facts = list[tuple[str, str]]


def about(config: TrainingConfig) -> str:
    """What is trained on what, in a line."""
    facts = config.facts
    shape = describe_shape((facts.height, facts.width, facts.num_channels))
    classes = f"{facts.num_classes} classes" if facts.num_classes else "no classes"
    data = re.split(r"[\\/]", config.data.path.rstrip("\\/"))[-1]
    return (
        f"{data}: {facts.num_images:,} images, {shape}, {classes} · --cfg {config.preset}, "
        f"batch {config.batch}, seed {config.seed}"
    )


def figures(records: Records, config: TrainingConfig) -> Facts:
    """The newest numbers: value, and what it is."""
    history = records.history
    kimg = history.kimg[-1] if history.records else 0.0
    found = [(f"{kimg_text(kimg)} of {kimg_text(config.run.kimg)}", "kimg")]
    seconds = _newest(history, "Timing/seconds")
    if seconds is not None:
        found.append((_duration(seconds), "training time"))
    for name, what in _NEWEST:
        value = _newest(history, name)
        if value is not None:
            found.append((number_text(value), what))
    newest = max((score.kimg for score in records.scores), default=None)
    for score in records.scores:
        if score.kimg == newest:
            found += [(number_text(value), name) for name, value in score.values.items()]
    return found


def noise_reading(history: History, config: TrainingConfig, kimg: int) -> str:
    """How strong the noise was at the tick that counts `kimg` thousand images, '' if not told."""
    at = [index for index, each in enumerate(history.kimg) if int(each) == kimg]
    if not at:
        return ""
    record = history.records[at[-1]]
    told = [
        f"T of {network} {number_text(record[f'T_{network}'])}"
        for network in noisy_networks(config)
        if f"T_{network}" in record
    ]
    if "local_sd_min_D" in record and "local_sd_max_D" in record:
        least, most = record["local_sd_min_D"], record["local_sd_max_D"]
        told.append(f"σ of D {number_text(least, 2)} to {number_text(most, 2)}")
    return ", ".join(told)


def provenance(run_dir: Path, config: TrainingConfig) -> Facts:
    """Where the run comes from: what, and its value."""
    data = config.data
    how = [f"subset of {data.subset}"] if data.subset is not None else []
    how += ["mirrored copies"] if data.mirror else []
    found = [
        ("Run", run_dir.resolve().name),
        ("Data", ", ".join([data.path, *how])),
        ("Digest of the data", config.facts.digest),
        ("Seed", str(config.seed)),
        ("Weights from", config.init_digest or "scratch"),
    ]
    devices = _devices(run_dir / "log.txt")
    if devices:
        found.append(("Device", "; then ".join(devices)))
    return found


def _newest(history: History, name: str) -> float | None:
    value = history.series(name)[-1] if history.records else math.nan
    return value if math.isfinite(value) else None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _devices(log: Path) -> list[str]:
    """What a run was computed on, by its log: more than one where it went on elsewhere."""
    if not log.is_file():
        return []
    text = log.read_text(encoding="utf-8", errors="replace")
    return list(dict.fromkeys(_DEVICE.findall(text)))
