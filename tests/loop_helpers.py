"""Runs of very small networks that tests start, interrupt and compare."""

from __future__ import annotations

from pathlib import Path

import torch
from training_helpers import CPU, SMALL

from torch_utils.checkpoint import load_state, load_tensors
from torch_utils.world import World
from training.artifacts import Evaluate
from training.data.dataset import DataConfig, open_dataset
from training.loop import TrainingLoop
from training.options import data_facts, make_config, resolve_options
from training.state import TrainingState

NETWORK = "network-snapshot-000000.safetensors"
STATE = "training-state.pt"


def network(run_dir: Path) -> dict[str, object]:
    tensors, metadata = load_tensors(run_dir / NETWORK)
    return {**tensors, **metadata}


def same(ours: object, theirs: object) -> bool:
    """Equality of nested states, of tensors bit for bit."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = ours.keys() == theirs.keys()
        return keys and all(same(value, theirs[key]) for key, value in ours.items())
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return torch.equal(ours, theirs)
    return bool(ours == theirs)


def loop(
    run_dir: Path, data: Path, evaluate: Evaluate | None = None, **given: float
) -> TrainingLoop:
    """The loop of a run of very small networks, which goes on where there is a checkpoint."""
    run_dir.mkdir(exist_ok=True)
    dataset = open_dataset(DataConfig(path=str(data)))
    facts = data_facts(dataset)
    options = resolve_options("tiny", SMALL | {"kimg": 0.032, "workers": 1} | given, 8, 8)
    config = make_config(options, dataset.config, facts)
    state = TrainingState(config, CPU)
    if (run_dir / STATE).is_file():
        state.load_state_dict(load_state(run_dir / STATE, CPU))
    return TrainingLoop(config, state, dataset, run_dir, World(CPU), evaluate)
