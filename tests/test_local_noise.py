"""The second noise model: what D and C see, and how the deviations of classes are learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed_targets as targets
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from training_helpers import CPU, batches, small_config, small_trainer, straight_and_resumed

from torch_utils.seeding import reseed
from torch_utils.spawn import run_processes
from training.config import TrainingConfig
from training.estimate import META, phase_cost
from training.local_noise import GaussianNoise, LocalNoise, LocalNoiseConfig
from training.networks.layers import one_hot
from training.objectives import generator_loss
from training.phases import make_phases
from training.players import Players
from training.reporting import horizons
from training.samples import draw_noise
from training.snapshots import load_network, save_network
from training.state import TrainingState

FAMILIES = pytest.mark.parametrize("cfg", ["tiny", "sngan32"])


def local_config(cfg: str = "tiny", **given: Any) -> TrainingConfig:
    return small_config(cfg=cfg, noise_model="local", **given)  # type: ignore[arg-type]


def with_deviations(deviations: list[float], noise_sd: float = 0.0) -> LocalNoise:
    """Local noise of these σ_c, all below 1."""
    noise = LocalNoise(LocalNoiseConfig(noise_sd=noise_sd, local_sd_max=1.0), len(deviations))
    with torch.no_grad():
        noise.rho.copy_(torch.tensor(deviations).logit())
    return noise


def learned(players: Players) -> LocalNoise:
    assert players.learned_noise is not None
    return players.learned_noise


def test_each_class_has_noise_of_its_own_deviation_beside_the_global() -> None:
    torch.manual_seed(0)
    noise = with_deviations([0.1, 0.4, 0.7], noise_sd=0.3)
    images = torch.rand(3000, 1, 8, 8) * 2 - 1
    labels = torch.arange(3000) % 3
    with torch.no_grad():
        added = noise.add_noise(images, None, one_hot(labels, 3)) - images
    for label, own in enumerate([0.1, 0.4, 0.7]):
        of_class = added[labels == label]
        assert of_class.std().item() == pytest.approx((0.3**2 + own**2) ** 0.5, rel=0.01)
        assert of_class.mean().abs() < 0.02
    assert added.flatten(1).T.corrcoef().fill_diagonal_(0).abs().max() < 0.1  # pixels by themselves


def test_without_classes_there_is_one_deviation() -> None:
    noise = LocalNoise(LocalNoiseConfig(noise_sd=0.0, local_sd=0.2), 0)
    assert noise.deviations().tolist() == pytest.approx([0.2])
    added = noise.add_noise(torch.zeros(500, 1, 8, 8), None, torch.zeros(500, 0))
    assert added.std().item() == pytest.approx(0.2, rel=0.02)
    trainer = small_trainer(local_config(num_classes=0))
    trainer.step()
    assert learned(trainer.state.players).deviations() != 0.05


def test_deviations_begin_where_asked_and_stay_in_their_range() -> None:
    noise = LocalNoise(LocalNoiseConfig(local_sd=0.02, local_sd_max=0.3), 4)
    torch.testing.assert_close(noise.deviations(), torch.full([4], 0.02))
    with torch.no_grad():
        noise.rho.copy_(torch.tensor([-1e4, -50.0, 50.0, 1e4]))
    sd = noise.deviations()
    assert sd.isfinite().all() and sd.min() >= 0 and sd.max() <= 0.3
    with pytest.raises(ValidationError, match="local_sd must be below local_sd_max"):
        LocalNoiseConfig(local_sd=0.5, local_sd_max=0.5)


def test_the_gradient_of_a_deviation_is_its_finite_difference_through_d() -> None:
    torch.manual_seed(0)
    noise = with_deviations([0.1, 0.3, 0.5], noise_sd=0.2).double()
    layers = nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 36, 1)
    D = nn.Sequential(*layers).double()
    images = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    c = one_hot(torch.tensor([0, 0, 1, 1, 1, 1]), 3).double()  # none of class 2

    def loss() -> Tensor:
        torch.manual_seed(3)  # the same ε
        return generator_loss(D(noise.add_noise(images, None, c)))

    (gradient,) = torch.autograd.grad(loss(), noise.rho)
    step = 1e-5
    for label in range(3):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                noise.rho[label] += sign * step
                values.append(loss().item())
                noise.rho[label] -= sign * step
        expected = (values[0] - values[1]) / (2 * step)
        assert gradient[label].item() == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert gradient[2] == 0 and gradient[:2].abs().min() > 1e-6


def inputs_of_critics(players: Players, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What D and C take in when they look at images."""
    seen: dict[str, Tensor] = {}
    assert players.C is not None
    handles = [
        players.D.register_forward_pre_hook(lambda _, given: seen.update(D=given[0])),
    ]
    features = players.C.features
    players.C.features = lambda x, noise=None: (seen.update(C=x), features(x, noise))[1]  # type: ignore[method-assign, assignment, func-returns-value]
    with torch.no_grad():
        players.criticise(images, labels)
        players.encode(images)
    handles[0].remove()
    return seen["D"], seen["C"]


@FAMILIES
def test_d_sees_global_and_local_noise_and_c_the_global_alone(cfg: str) -> None:
    torch.manual_seed(0)
    players = Players(local_config(cfg, noise_sd=0.2, noise_sd_c=0.2, local_sd_max=1.0))
    with torch.no_grad():
        learned(players).rho.copy_(torch.tensor([0.1, 0.4, 0.7]).logit())
    labels = torch.arange(600) % 3
    d, c = inputs_of_critics(players, torch.zeros(600, 1, 8, 8), labels)
    for label, own in enumerate([0.1, 0.4, 0.7]):
        both = (0.2**2 + own**2) ** 0.5
        assert d[labels == label].std().item() == pytest.approx(both, rel=0.02)
        assert c[labels == label].std().item() == pytest.approx(0.2, rel=0.02)


@FAMILIES
def test_noise_can_lie_in_the_features_instead(cfg: str) -> None:
    config = local_config(cfg, noise_at="features", noise_sd=0.3, noise_sd_c=0.3)
    players = Players(config)
    images, labels = torch.zeros(8, 1, 8, 8), torch.arange(8) % 3
    d, c = inputs_of_critics(players, images, labels)
    assert d.eq(0).all() and c.eq(0).all()
    assert draw_noise(players, torch.zeros(3, 1, 8, 8).byte()) is None
    with torch.no_grad():
        first, second = (players.criticise(images, labels) for _ in range(2))
        assert (first - second).abs().min() > 0  # and yet the same image looks different
        assert (players.encode(images) - players.encode(images)).abs().amax(1).min() > 0
    learned(players).rho.requires_grad_(True)
    players.criticise(images, labels).sum().backward()
    assert learned(players).rho.grad is not None and learned(players).rho.grad.ne(0).all()


def test_global_noise_can_lie_in_the_features_too() -> None:
    players = Players(small_config(noise_at="features"))
    images, labels = torch.zeros(64, 1, 8, 8), torch.zeros(64, dtype=torch.int64)
    d, c = inputs_of_critics(players, images, labels)
    assert d.eq(0).all() and c.eq(0).all()
    with pytest.raises(ValidationError, match="noise_at must be images with architecture skip"):
        TrainingConfig.model_validate(
            local_config(architecture_d="skip").model_dump() | {"noise_at": "features"}
        )


@FAMILIES
def test_gs_step_alone_moves_the_deviations_and_every_class_its_own_way(cfg: str) -> None:
    trainer = small_trainer(local_config(cfg, lr_local=0.05))
    noise = learned(trainer.state.players)
    for phase in trainer.phases:
        before = noise.deviations().clone()
        (draw,) = trainer.draw(next(trainer.data), 1)
        trainer.update(phase, draw)
        moved = bool((noise.deviations() != before).any())
        assert moved is (phase.name == "G")
    for _ in range(10):
        trainer.step()
    sd = noise.deviations().tolist()
    assert len(set(sd)) == 3
    assert all(0 < each < 0.5 for each in sd)


@pytest.mark.parametrize("local_from", ["fakes", "both"])
def test_deviations_follow_ds_logits_on_the_images_they_are_told_to(local_from: str) -> None:
    """On real images they make D less sure, on generated ones surer; G feels no real image."""
    trainer = small_trainer(local_config(local_from=local_from, lambda_local=0.0, num_classes=3))
    phase = next(phase for phase in trainer.phases if phase.name == "G")
    (draw,) = trainer.draw(next(trainer.data), 1)
    zeros = torch.zeros_like(draw.labels)
    draw = replace(draw, fake_labels=zeros, labels=zeros + 1)
    gradients = []
    for images in (draw.images, -draw.images):
        reseed(5)
        trainer.differentiate(phase, replace(draw, images=images))
        gradients.append([p.grad for p in phase.trained if p.grad is not None])
    rho = gradients[0][-1]
    assert rho.shape == (3,) and rho[0] != 0 and rho[2] == 0
    assert (rho[1] != 0) == (local_from == "both")
    for first, second in zip(gradients[0][:-1], gradients[1][:-1], strict=True):
        assert torch.equal(first, second)


def test_the_penalty_is_the_mean_square_and_pulls_all_deviations_down() -> None:
    noise = with_deviations([0.1, 0.2, 0.6])
    assert noise.penalty().item() == pytest.approx((0.01 + 0.04 + 0.36) / 3)
    runs = []
    for lambda_local in (0.0, 100.0):
        trainer = small_trainer(local_config(lambda_local=lambda_local, lr_local=0.02))
        for _ in range(10):
            trainer.step()
        runs.append(learned(trainer.state.players).deviations())
    assert (runs[1] < runs[0]).all()
    assert runs[1].max() < 0.05


@FAMILIES
def test_resuming_is_exact_bit_for_bit(cfg: str) -> None:
    states = straight_and_resumed(local_config(cfg), 5, 4)
    expected, actual, saved = (state["players"] for state in states)
    assert expected.keys() == actual.keys()
    for key, tensor in expected.items():
        assert torch.equal(tensor, actual[key]), key
    assert not torch.equal(expected["view_d.rho"], saved["view_d.rho"])


@FAMILIES
def test_deviations_are_in_the_network_file(tmp_path: Path, cfg: str) -> None:
    config = local_config(cfg)
    players = Players(config)
    with torch.no_grad():
        learned(players).rho.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    save_network(tmp_path / "net.safetensors", players, config, 1000)
    loaded = load_network(str(tmp_path / "net.safetensors"))
    assert loaded.config == config
    torch.testing.assert_close(
        learned(loaded.players).deviations(), learned(players).deviations(), rtol=0, atol=0
    )


@FAMILIES
def test_all_processes_learn_the_same_deviations(tmp_path: Path, cfg: str) -> None:
    config = local_config(cfg, batch=8, batch_gpu=4, kimg=0.1)
    run_processes(targets.final_state, 2, "cpu", (config, 6, tmp_path))
    first, second = (torch.load(tmp_path / f"2-{rank}.pt", weights_only=True) for rank in (0, 1))
    torch.testing.assert_close(first["players"], second["players"], rtol=0, atol=0)
    assert len(set(first["players"]["view_d.rho"].tolist())) == 3


@FAMILIES
@pytest.mark.parametrize("place", ["images", "features"])
def test_no_phase_waits_for_the_device(cfg: str, place: str) -> None:
    """On the meta device a value that the host asks for raises: a graph could not be captured."""
    config = local_config(cfg, noise_at=place, lambda_g=0.5)
    players = Players(config).to(META)
    for phase in make_phases(players, config.losses):
        flops, _ = phase_cost(phase, config, players)
        assert flops > 0


def test_a_run_reports_mean_least_and_largest_deviation() -> None:
    players = Players(local_config())
    with torch.no_grad():
        learned(players).rho.copy_(torch.tensor([-2.0, 0.0, 2.0]))
    sd = learned(players).deviations()
    assert horizons(players) == pytest.approx(
        {
            "local_sd_mean_D": sd.mean().item(),
            "local_sd_min_D": sd.min().item(),
            "local_sd_max_D": sd.max().item(),
        }
    )


def test_pictures_show_the_noise_of_d_and_c() -> None:
    players = Players(local_config(noise_sd=0.1))
    picture = draw_noise(players, next(batches(local_config())).images)
    assert picture is not None
    noisy, caption = learned(players).examples(torch.zeros(2, 1, 8, 8), 7)
    spread = noisy.reshape(2, 7, -1).std(dim=2)
    assert spread[:, 0].eq(0).all() and spread[:, 1:].min() > 0.05
    assert caption == "sd 0.11-0.11"  # sqrt(0.1² + 0.05²), of every class
    assert isinstance(players.view_c, GaussianNoise)


def test_without_a_classifier_or_with_one_network_clean() -> None:
    """Each part can be left out, and D without noise has nothing to learn there."""
    for given in ({"classifier": False}, {"noise_c": False}, {"noise_d": False}):
        trainer = small_trainer(local_config(**given))
        trainer.step()
        assert (trainer.state.players.learned_noise is None) == ("noise_d" in given)
        assert ("local" in trainer.state.optimizers) == ("noise_d" not in given)
        state = TrainingState(trainer.config, CPU)
        state.load_state_dict(trainer.state.state_dict())


def test_noise_is_drawn_anew_for_each_step_and_follows_the_seed() -> None:
    noise = with_deviations([0.5])
    images, c = torch.zeros(1, 1, 4, 4), torch.ones(1, 1)
    draws = []
    for seed in (1, 1, 2):
        reseed(seed)
        draws.append(noise.add_noise(images, None, c))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
