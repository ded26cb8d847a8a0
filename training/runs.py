"""Run folders: where a run begins, and where it goes on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from dnnlib import UserError
from dnnlib.files import (
    FileLock,
    create_run_dir,
    find_run_dirs,
    remove_leftovers,
    write_text,
)
from dnnlib.logs import logged_to_file, logger
from torch_utils.checkpoint import (
    load_state,
    previous_state_path,
    state_from_bytes,
    state_to_bytes,
)
from torch_utils.distributed import broadcast_bytes, from_first
from torch_utils.world import World
from training.config import TrainingConfig
from training.state import TrainingState

OPTIONS_FILE = "training_options.json"
STATE_FILE = "training-state.pt"
LOG_FILE = "log.txt"
_SHOWN_CONFLICTS = 8


@dataclass(frozen=True)
class Run:
    """A run folder and the state to go on from in it.

    The process that writes there has the `lock`, which keeps others out.
    """

    path: Path
    state: TrainingState
    lock: FileLock | None = None
    is_new: bool = False  # the folder was made for it just now
    notes: tuple[str, ...] = ()  # what is to be said of how it began


def open_run(config: TrainingConfig, outdir: Path, exp_id: str | None, device: torch.device) -> Run:
    """The newest run folder of the same configuration in `outdir`, or a new one.

    Typing the same command again goes on where the run stopped, or begins another run while that
    one is at work.
    """
    description = describe(config, exp_id)
    for path in reversed(find_run_dirs(outdir, description)):
        if _is_of(path, config):
            lock = FileLock(path / LOG_FILE)
            if lock.held:
                return _continue(config, path, device, lock)
            logger.info(f"{path}: another process is at work there")
    path = create_run_dir(outdir, description)
    lock = FileLock(path / LOG_FILE)
    write_text(path / OPTIONS_FILE, config.to_json())
    return Run(path, TrainingState(config, device), lock, is_new=True)


def _is_of(path: Path, config: TrainingConfig) -> bool:
    """Whether the run in `path` has this configuration; one that cannot be read has another."""
    if not (path / OPTIONS_FILE).is_file():
        return False
    try:
        return not conflicts(saved_config(path), config)
    except (OSError, UserError) as error:
        logger.info(f"{path}: not looked at, its settings cannot be read ({error})")
        return False


def continue_run(config: TrainingConfig, path: Path, device: torch.device) -> Run:
    """The run in `path`, with `config`, which may differ in how it is carried out alone.

    Raises `UserError` naming the fields when it differs in what is computed, and when another
    process is at work there.
    """
    differences = conflicts(saved_config(path), config)
    if differences:
        shown = differences[:_SHOWN_CONFLICTS]
        more = len(differences) - len(shown)
        raise UserError(
            f"--resume {path}: that run has other settings ({'; '.join(shown)}"
            f"{f'; and {more} more' if more else ''}); leave all options out, or start a new run: "
            "with other --outdir and without --resume, or from one of its networks (--resume FILE)"
        )
    lock = FileLock(path / LOG_FILE)
    if not lock.held:
        raise UserError(f"--resume {path}: another process is at work there; wait for its end")
    return _continue(config, path, device, lock)


def _continue(config: TrainingConfig, path: Path, device: torch.device, lock: FileLock) -> Run:
    remove_leftovers(path)
    state = TrainingState(config, device)
    if any(file.is_file() for file in (path / STATE_FILE, previous_state_path(path / STATE_FILE))):
        saved = load_state(path / STATE_FILE, device)
        try:
            state.load_state_dict(saved)
        except (KeyError, RuntimeError, TypeError, ValueError):
            raise UserError(
                f"{path / STATE_FILE}: not the training state of this run; restore it, or start a "
                "new run with another --outdir"
            ) from None
        logger.info(f"Continuing {path} at kimg {state.nimg / 1000:.1f}")
    write_text(path / OPTIONS_FILE, config.to_json())
    return Run(path, state, lock)


@contextmanager
def at_work(run: Run) -> Iterator[None]:
    """Log to the run's folder meanwhile, then let others have it.

    What is wrong with data or disk leaves no folder behind before the first step.
    """
    try:
        with logged_to_file(run.path / LOG_FILE):
            yield
    except (UserError, OSError):
        if run.is_new and run.state.step == 0:
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    finally:
        if run.lock is not None:
            run.lock.release()


def share_run(run: Run | None, config: TrainingConfig, world: World) -> Run:
    """The run of the first process, on every process and in the same state.

    Others give None: they need not see the folder, and the state comes over the wire.
    """
    path = Path(from_first("" if run is None else str(run.path), world))
    ours = b"" if run is None or world.size == 1 else state_to_bytes(run.state.state_dict())
    data = broadcast_bytes(ours, world)
    if run is not None:
        return run
    state = TrainingState(config, world.device)
    state.load_state_dict(state_from_bytes(data, world.device))
    return Run(path, state)


def saved_config(path: Path) -> TrainingConfig:
    """The configuration of the run in `path`. Raises `UserError` when there is none."""
    file = path / OPTIONS_FILE
    if not file.is_file():
        raise UserError(
            f"--resume {path}: not a run folder, it has no {OPTIONS_FILE}; to start from a network "
            "give --data and --outdir too"
        )
    return TrainingConfig.from_json(file.read_text(encoding="utf-8", errors="replace"), file)


def conflicts(ours: TrainingConfig, theirs: TrainingConfig) -> list[str]:
    """Differences in what is computed; `run`, how it is carried out, may change."""
    lines = [
        line for line in ours.differences(theirs) if not line.startswith(("run.", "data.path"))
    ]
    return [re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", line) for line in lines]


def describe(config: TrainingConfig, exp_id: str | None) -> str:
    """The name of a run behind its number: data, condition, preset, batch."""
    data = re.sub(r"[^A-Za-z0-9_]+", "_", Path(config.data.path).stem).strip("_") or "data"
    parts = [
        data,
        "cond" if config.facts.num_classes else "uncond",
        config.preset,
        f"batch{config.batch}",
    ]
    if config.data.mirror:
        parts.append("mirror")
    if config.data.subset is not None:
        parts.append(f"subset{config.data.subset}")
    if exp_id:
        parts.append(exp_id)
    return "-".join(parts)
