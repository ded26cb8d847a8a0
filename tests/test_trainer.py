"""The training step: who moves when, and what it may depend on."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from training_helpers import CPU, small_config, small_trainer, straight_and_resumed

from dnnlib import UserError
from torch_utils.seeding import reseed
from torch_utils.stats import Stats
from torch_utils.world import World
from training.networks.discriminator import DiscriminatorConfig
from training.networks.generator import SynthesisLayer
from training.options import make_config, resolve_options
from training.phases import Draw
from training.presets import PRESET_NAMES, PresetName
from training.state import TrainingState, average_beta
from training.trainer import Trainer


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def differ(before: list[Tensor], after: list[Tensor]) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def draw(trainer: Trainer) -> Draw:
    (drawn,) = trainer.draw(next(trainer.data), 1)
    return drawn


def without_noise(layer: nn.Module, inputs: tuple[Tensor, Tensor, str]) -> tuple[Tensor, ...]:
    return (*inputs[:2], "none")


def test_each_phase_moves_its_own_player_alone() -> None:
    trainer = small_trainer(small_config(pl_weight=2.0))
    players = trainer.state.players
    assert [phase.name for phase in trainer.phases] == ["C", "G", "G_reg", "D", "D_reg"]
    for phase in trainer.phases:
        before = {name: weights(getattr(players, name)) for name in ("G", "D", "C", "G_ema")}
        trainer.update(phase, draw(trainer))
        moved = {name for name in before if differ(before[name], weights(getattr(players, name)))}
        assert moved == {phase.name[0]}
        assert not any(parameter.requires_grad for parameter in players.parameters())


def test_every_weight_of_a_player_gets_a_gradient() -> None:
    trainer = small_trainer(small_config())
    for phase in trainer.phases[:3]:
        trainer.update(phase, draw(trainer))
        assert all(parameter.grad is not None for parameter in phase.trained)


@pytest.mark.parametrize("name", ["C", "G", "D", "D_reg"])
def test_gradients_do_not_depend_on_micro_batches_where_no_loss_couples_images(name: str) -> None:
    gradients = []
    for batch_gpu in (8, 2):
        config = small_config(
            batch_gpu=batch_gpu, mbstd=0, noise_model="none", lambda_c=0.0, lambda_g=1.0
        )
        trainer = small_trainer(config)
        phase = next(phase for phase in trainer.phases if phase.name == name)
        for layer in trainer.state.players.G.modules():
            if isinstance(layer, SynthesisLayer):  # its noise differs between micro-batches
                layer.register_forward_pre_hook(without_noise)
        reseed(7)
        trainer.update(phase, draw(trainer))
        gradients.append([p.grad for p in phase.trained if p.grad is not None])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-6)


def test_moments_follow_the_layout_that_a_run_goes_on_in() -> None:
    states = []
    for nhwc in (True, False):
        first = small_trainer(small_config(nhwc=True))
        for _ in range(3):
            first.step()
        second = small_trainer(small_config(nhwc=nhwc))
        second.state.load_state_dict(copy.deepcopy(first.state.state_dict()))
        second.step()
        states.append(second.state.players.state_dict())
    for name, expected in states[0].items():
        torch.testing.assert_close(states[1][name], expected, rtol=1e-3, atol=1e-4, msg=name)


def test_resuming_is_exact_bit_for_bit() -> None:
    expected, actual, _ = straight_and_resumed(small_config(), 6, 5)
    assert expected["nimg"] == actual["nimg"] == 88
    for key, tensor in expected["players"].items():
        assert torch.equal(tensor, actual["players"][key]), key


def test_horizons_move_every_fourth_step_and_are_part_of_the_state() -> None:
    trainer = small_trainer(small_config(ada_kimg=0.1, kimg=0.1))
    players = trainer.state.players
    assert players.view_d is not None and players.view_c is not None
    horizons = []
    for _ in range(8):
        trainer.step()
        horizons.append(int(players.view_c.diffusion.horizon))
    assert horizons[:3] == [10, 10, 10]
    assert horizons[3] == 10 + round(0.32 * 290)
    assert horizons[7] == 10 + round(0.64 * 290)
    state = TrainingState(trainer.config, CPU)
    state.load_state_dict(trainer.state.state_dict())
    assert state.players.view_d is not None
    assert state.players.view_d.schedule.p == players.view_d.schedule.p
    assert torch.equal(
        state.players.view_c.diffusion.timestep_list,  # type: ignore[union-attr]
        players.view_c.diffusion.timestep_list,
    )


def test_parts_can_be_left_out() -> None:
    plain = small_trainer(small_config(classifier=False, noise_model="none", gamma=0.0))
    assert [phase.name for phase in plain.phases] == ["G", "D"]
    assert plain.state.players.view_d is None
    unconditional = small_trainer(small_config(num_classes=0))
    assert unconditional.state.players.C is None
    assert unconditional.state.players.view_d is not None
    for trainer in (plain, unconditional):
        trainer.step()


def test_generated_labels_follow_the_data() -> None:
    trainer = small_trainer(small_config(batch=64))
    trainer.dataset_labels = torch.tensor([1, 1, 1, 2])
    drawn = draw(trainer)
    assert set(drawn.fake_labels.tolist()) == {1, 2}
    assert drawn.fake_labels.eq(1).sum() > drawn.fake_labels.eq(2).sum()
    assert drawn.images.min() >= -1
    assert drawn.images.max() <= 1


def test_non_finite_gradients_are_replaced_and_counted() -> None:
    trainer = small_trainer(small_config())
    phase = trainer.phases[0]
    for parameter in phase.trained:
        parameter.grad = torch.zeros_like(parameter)
    weight = phase.trained[0].grad
    assert weight is not None
    weight.view(-1)[:3] = torch.tensor([float("nan"), float("inf"), 2.0])
    assert trainer.share_gradients(phase) == 2
    assert weight.view(-1)[:4].tolist() == [0.0, 1e5, 2.0, 0.0]


def test_average_halves_the_distance_in_its_half_life() -> None:
    config = small_config(ema_kimg=0.08, ema_rampup=None)
    assert average_beta(config, 0) ** 10 == pytest.approx(0.5)
    ramped = small_config(ema_kimg=10.0, ema_rampup=0.05)
    assert average_beta(ramped, 8) < 1e-4  # at first the average is the network itself
    assert average_beta(ramped, 10**9) == pytest.approx(0.5 ** (8 / 10_000))


def test_stats_are_means_since_the_last_look() -> None:
    stats = Stats(World(CPU))
    stats.report("x", torch.tensor([1.0, 3.0]))
    stats.report("x", torch.tensor(5.0))
    mean, deviation = stats.collect()["x"]
    assert mean == 3
    assert deviation == pytest.approx((8 / 3) ** 0.5)
    assert stats.collect() == {}
    stats.report("x", torch.tensor([1.0, float("nan"), float("inf")]))
    stats.report("y", torch.tensor(float("nan")))
    collected = stats.collect()
    assert collected["x"] == (1, 0)
    assert math.isnan(collected["y"][0])


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_presets_make_consistent_configs(name: str) -> None:
    options = resolve_options(name, {"batch": 32}, 256, 256)  # type: ignore[arg-type]
    assert options.batch == 32
    assert options.batch % options.micro_batches == 0


def test_auto_follows_the_resolution() -> None:
    small = resolve_options("auto", {}, 32, 32)
    large = resolve_options("auto", {}, 1024, 1024)
    assert (small.batch, large.batch) == (32, 4)
    assert (small.lr, large.lr) == (0.0025, 0.002)
    assert (small.channel_base, large.channel_base) == (16384, 32768)
    assert large.gamma == pytest.approx(0.0002 * 1024**2 / 4)


@pytest.mark.parametrize(
    ("processes", "given", "expected"),
    [
        (1, {}, (32, 32, 4)),
        (4, {}, (64, 16, 4)),
        (3, {}, (63, 21, 3)),  # at most 64, shared by all
        (70, {}, (70, 1, 1)),
        (1, {"batch": 6}, (6, 6, 3)),
        (1, {"batch": 7}, (7, 7, 1)),
        (2, {"batch": 12, "batch_gpu": 2}, (12, 2, 4)),  # of what there is, as from 6
    ],
)
def test_auto_deals_a_batch_out_and_d_compares_up_to_four_images(
    processes: int, given: dict[str, int], expected: tuple[int, int, int]
) -> None:
    small = small_config()
    options = resolve_options("auto", given, 64, 64, processes)
    config = make_config(options, small.data, small.facts)
    assert isinstance(config.discriminator, DiscriminatorConfig)
    assert (config.batch, config.batch_gpu, config.discriminator.mbstd_group) == expected


@pytest.mark.parametrize(
    ("cfg", "processes", "batch", "said"),
    [
        ("auto", 4, 30, r"^--gpus 4: so many processes cannot share a batch of 30; use a --batch"),
        (
            "paper256",
            1,
            28,
            r"^--batch 28: --cfg paper256 takes it in 8 parts; use a multiple",
        ),
        ("tiny", 1, 6, r"^--batch-gpu must be a multiple of 4 or less, .*; found 6, 2 would do$"),
    ],
)
def test_a_batch_that_does_not_divide_is_told_with_a_cure(
    cfg: PresetName, processes: int, batch: int, said: str
) -> None:
    small = small_config()
    with pytest.raises(UserError, match=said):
        options = resolve_options(cfg, {"batch": batch}, 64, 64, processes)
        make_config(options, small.data, small.facts)


def test_without_a_classifier_its_horizon_is_no_concern() -> None:
    assert small_config(num_classes=0, t_min=400).diffusion_c is None
    assert small_config(classifier=False, t_min=400).diffusion_c is None
    with pytest.raises(UserError, match=r"^--t-max-c must be at least t_min \(400\)"):
        small_config(t_min=400)


def test_papers_keep_their_losses_and_others_take_what_measured_best() -> None:
    for cfg, contrast, share in (("auto", "instance", 0.5), ("paper256", "class", 0.95)):
        options = resolve_options(cfg, {}, 256, 256)
        assert (options.contrast_g, options.contrast_c) == (contrast, contrast)
        assert options.lambda_g == share


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"batch": 0}, "--batch"),
        ({"gamma": float("nan")}, "--gamma"),
        ({"t_min": 50, "t_max": 20}, "--t-max must be at least t_min"),
        ({"batch": 30, "batch_gpu": 8}, "batch must be a multiple of batch_gpu"),
        ({"lambda_g": 1.5}, "--lambda-g"),
    ],
)
def test_options_out_of_range_are_named(given: dict[str, float], named: str) -> None:
    with pytest.raises(UserError, match=named):
        small_config(**given)
