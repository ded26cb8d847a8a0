"""A training step never waits for its device: no value is read back, nothing is copied to or fro.

The meta device has no values at all, so that an operation that needs one fails; those that only a
GPU waits for are watched by name.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_helpers import small_config

from torch_utils.stats import Stats
from torch_utils.world import World
from training.data.loader import Batch
from training.state import TrainingState
from training.trainer import Trainer

META = torch.device("meta")
# Check their arguments or their results on the host.
WAITING = {"aten.multinomial.default", "aten.linalg_inv_ex.default", "aten.linalg_solve_ex.default"}


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and notes those that a GPU would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self.waits: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given, made = (
            {leaf.device.type for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)}
            for tree in ((args, kwargs), result)
        )
        self.count += "meta" in made
        if len(given | made) > 1 or str(func) in WAITING:
            self.waits.append(f"{func}: {given} to {made}")
        return result


def meta_trainer(**given: Any) -> Trainer:
    config = small_config(**given)
    state = TrainingState(config, META)
    for optimizer in state.optimizers.values():
        optimizer.step = lambda closure=None: None  # type: ignore[method-assign, assignment]
    images = torch.zeros(config.batch, 1, 8, 8, dtype=torch.uint8, device=META)
    batch = Batch(images, torch.zeros(config.batch, dtype=torch.int64, device=META))
    world = World(META)
    labels = torch.zeros(16, dtype=torch.int64)
    return Trainer(config, state, iter(lambda: batch, None), labels, world, Stats(world))


@pytest.mark.parametrize(
    "given",
    [
        {"pl_weight": 2.0, "style_mixing": 0.9},
        {"aug": "ada", "augpipe": "bgcfnc"},
        {"aug": "diff"},
        {"noise_model": "local", "noise_at": "features"},
        {"horizon_d": "ramp", "horizon_c": "adaptive", "ts_dist": "uniform"},
        {"cfg": "sngan32"},
    ],
    ids=str,
)
def test_no_step_waits(given: dict[str, Any]) -> None:
    trainer = meta_trainer(**given)
    trainer.step()
    trainer.state.step = 15
    with Watch() as watch:
        trainer.step()  # horizons move after it
        trainer.step()  # every phase is due
    assert watch.count > 500
    assert not watch.waits, "\n".join(sorted(set(watch.waits)))


def test_waiting_would_be_noticed() -> None:
    with Watch() as watch:
        torch.zeros(3).to(META)
        torch.zeros(4, device=META) + 1
    assert watch.waits == ["aten._to_copy.default: {'cpu'} to {'meta'}"]
    for wait in (Tensor.item, Tensor.nonzero):
        with pytest.raises((RuntimeError, NotImplementedError)):
            wait(torch.zeros([], device=META))
