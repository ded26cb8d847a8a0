"""What a dry run says of work, memory and time."""

from __future__ import annotations

import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from training_helpers import CPU, small_config

from torch_utils.world import World
from training.estimate import META, duration, estimate, fastest, fixed_memory, phase_cost
from training.phases import Phase, make_phases
from training.players import Players
from training.state import TrainingState


def phases_of(config_given: dict[str, object]) -> dict[str, tuple[Phase, Players]]:
    config = small_config(**config_given)
    players = Players(config).to(META)
    return {phase.name: (phase, players) for phase in make_phases(players, config.losses)}


def test_work_and_memory_grow_with_the_micro_batch() -> None:
    costs = {}
    for batch_gpu in (4, 8):
        config = small_config(batch=8, batch_gpu=batch_gpu, pl_weight=2.0, mbstd=0)
        for name, (phase, players) in phases_of({"pl_weight": 2.0, "mbstd": 0}).items():
            costs[name, batch_gpu] = phase_cost(phase, config, players)
    for name in ("C", "G", "G_reg", "D", "D_reg"):
        (flops4, bytes4), (flops8, bytes8) = costs[name, 4], costs[name, 8]
        assert 1.8 * flops4 < flops8 < 2.01 * flops4  # some products are of weights alone
        assert bytes4 < bytes8 < 2.01 * bytes4


def test_a_step_of_d_is_forward_and_backward_of_twice_the_images() -> None:
    """A pass costs its products once forward and, but for the images, twice backward."""
    config = small_config(noise_model="none", classifier=False)
    phase, players = phases_of({"noise_model": "none", "classifier": False})["D"]
    total, _ = phase_cost(phase, config, players)
    images = torch.empty(config.batch_gpu, 1, 8, 8, device=META)
    labels = torch.empty(config.batch_gpu, 3, device=META)
    z = torch.empty(config.batch_gpu, players.G.z_dim, device=META)
    with FlopCounterMode(display=False) as forward_d:
        players.D(images, labels)
    with FlopCounterMode(display=False) as forward_g:
        players.G(z, labels)
    d, g = forward_d.get_total_flops(), forward_g.get_total_flops()
    assert g + 2 * 2.5 * d < total < g + 2 * 3 * d


def test_fixed_memory_is_what_a_state_holds() -> None:
    config = small_config()
    state = TrainingState(config, CPU)
    for phase in make_phases(state.players, config.losses):
        phase.wake()
        (sum(p.sum() for p in phase.trained) * 1.0).backward()  # type: ignore[union-attr]
        state.optimizers[phase.name[0]].step()
        phase.sleep()
    held = list(state.players.parameters())
    held += [p.grad for p in held if p.grad is not None]
    for optimizer in state.optimizers.values():
        held += [x for s in optimizer.state.values() for x in s.values() if x.numel() > 1]
    data = 16 * 8 * 8
    measured = sum(tensor.numel() * 4 for tensor in held) + data
    assert fixed_memory(config, state.players) == pytest.approx(measured, rel=0.01)


def test_estimate_is_one_line_with_units() -> None:
    config = small_config(kimg=1000.0)
    line = estimate(config, World(CPU))
    pattern = (
        r"Estimate  \S+ TFLOP/kimg, \S+ GiB a process; \S+ \w+ for a kimg and \S+ \w+ in all if .*"
    )
    assert re.fullmatch(pattern, line)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_time_is_taken_when_the_device_is_done(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    done: list[str] = []
    module = torch.get_device_module(device)
    monkeypatch.setattr(module, "synchronize", lambda: done.append("ended"))
    assert fastest(lambda: done.append("begun"), torch.device(device), repeats=2) >= 0
    assert done == ["begun", "ended"] * 2


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3.0, "3 seconds"), (180.0, "3 minutes"), (9000.0, "2.5 hours"), (864000.0, "10 days")],
)
def test_durations_are_said_in_fitting_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said
