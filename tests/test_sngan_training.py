"""Training SNGAN: who moves when, what is kept, and that its networks do what all networks do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from network_helpers import CLASSES, exit_status
from pydantic import ValidationError
from torch import Tensor, nn
from training_helpers import small_config, small_trainer

import generate
import interpolation
from training.config import DataFacts, TrainingConfig
from training.data.dataset import DataConfig
from training.generation.synthesis import StyleConfig, Synthesizer
from training.networks.batch_norm import ConditionalBatchNorm
from training.networks.layers import one_hot
from training.networks.sngan_generator import SnganSynthesis
from training.networks.spectral import SpectralLayer
from training.options import make_config, resolve_options
from training.phases import in_turns
from training.players import Players
from training.snapshots import load_network, save_network
from training.transfer import transfer


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def differ(before: list[Tensor], after: list[Tensor]) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_preset_is_the_seed_papers_small_setting() -> None:
    config = small_config(cfg="sngan32")
    assert (config.generator.kind, config.discriminator.kind) == ("sngan", "sngan")
    assert config.classifier is not None and config.classifier.kind == "resnet18"
    assert resolve_options("sngan32", {}, 32, 32).latent_dim == 128
    assert resolve_options("sngan32", {}, 32, 32).batch == 64
    losses, optimizer = config.losses, config.optimizer
    assert (losses.adversarial, losses.label_g, losses.lambda_g) == ("hinge", 0.1, 1.0)
    assert (losses.lambda_c, losses.r1_gamma, losses.lambda_local) == (0.0, 0.0, 0.01)
    assert (optimizer.lr_g, optimizer.lr_d, optimizer.lr_c) == (2e-4, 2e-4, 2e-4)
    assert optimizer.betas == optimizer.betas_c == (0.5, 0.999)
    assert optimizer.joint_gc


def test_g_and_c_take_their_gradients_before_either_moves_and_d_comes_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = small_trainer(small_config(cfg="sngan32"))
    assert [[phase.name for phase in turn] for turn in trainer.turns] == [["C", "G"], ["D"]]
    done: list[str] = []

    def noted(name: str, method: Callable[..., None]) -> Callable[..., None]:
        def call(phase: Any, *rest: Any) -> None:
            done.append(f"{name} {phase.name}")
            method(phase, *rest)

        return call

    monkeypatch.setattr(trainer, "differentiate", noted("gradient", trainer.differentiate))
    monkeypatch.setattr(trainer, "move", noted("step", trainer.move))
    trainer.step()
    assert done == [
        "gradient C", "gradient G", "step C", "step G", "gradient D", "step D",
    ]  # fmt: skip
    apart = small_trainer(small_config())
    assert [[phase.name for phase in turn] for turn in apart.turns] == [
        ["C"],
        ["G"],
        ["D"],
        ["D_reg"],
    ]
    assert in_turns(trainer.phases[1:], True) == [(trainer.phases[1],), (trainer.phases[2],)]


def test_16_bits_are_only_for_those_who_ask() -> None:
    cuda, small = torch.device("cuda"), small_config()
    for given, expected in (
        ({}, "fp32"),
        ({"precision": "bf16"}, "bf16"),
        ({"allow_tf32": True}, "tf32"),
    ):
        options = resolve_options("sngan32", given, 32, 32)
        assert make_config(options, small.data, small.facts, cuda).run.precision == expected


def test_frozen_layers_stay() -> None:
    trainer = small_trainer(small_config(cfg="sngan32", freezed=3))
    D = trainer.state.players.D
    before = {name: parameter.clone() for name, parameter in D.named_parameters()}
    trainer.step()
    stayed = {n.rpartition(".")[0] for n, p in D.named_parameters() if torch.equal(p, before[n])}
    assert stayed == {"b8.conv0", "b8.conv1", "b8.skip"}


def test_generated_images_teach_c_nothing() -> None:
    trainer = small_trainer(small_config(cfg="sngan32"))
    C_phase, G_phase = trainer.phases[:2]
    for phase in (C_phase, G_phase):
        trainer.differentiate(phase, trainer.draw(next(trainer.data), 1)[0])
        if phase is C_phase:
            before = [p.grad.clone() for p in C_phase.trained if p.grad is not None]
    after = [p.grad for p in C_phase.trained if p.grad is not None]
    assert len(before) == len(after) > 0
    assert not any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_each_phase_moves_its_own_player_alone_and_every_weight_learns() -> None:
    trainer = small_trainer(small_config(cfg="sngan32", gamma=0.1))
    players = trainer.state.players
    assert [phase.name for phase in trainer.phases] == ["C", "G", "D", "D_reg"]
    for phase in trainer.phases:
        before = {name: weights(getattr(players, name)) for name in ("G", "D", "C", "G_ema")}
        (draw,) = trainer.draw(next(trainer.data), 1)
        trainer.update(phase, draw)
        moved = {name for name in before if differ(before[name], weights(getattr(players, name)))}
        assert moved == {phase.name[0]}
        if phase.name != "D_reg":  # the gradient penalty does not see biases behind the last ReLU
            assert all(parameter.grad is not None for parameter in phase.trained)


def test_spectral_norms_move_once_a_step_whatever_the_micro_batches() -> None:
    vectors = []
    for batch_gpu in (8, 4):
        trainer = small_trainer(small_config(cfg="sngan32", batch_gpu=batch_gpu))
        trainer.step()
        vectors.append(
            [m.u for m in trainer.state.players.D.modules() if isinstance(m, SpectralLayer)]
        )
    fresh = Players(small_config(cfg="sngan32")).D.modules()
    before = [m.u for m in fresh if isinstance(m, SpectralLayer)]
    moved = []
    for whole, parts, first in zip(*vectors, before, strict=True):
        assert torch.equal(whole, parts)
        moved.append(not torch.equal(whole, first))
    assert any(moved)  # where twenty iterations had not found the fixed point


@pytest.mark.parametrize("ema_rampup", [None, 0.05])
def test_the_average_has_statistics_of_its_own_and_g_keeps_none(ema_rampup: float | None) -> None:
    """Also while it follows G closely, as it does in the beginning with a ramp-up."""
    config = small_config(cfg="sngan32", batch=32, lr=0.01, ema_rampup=ema_rampup)
    trainer = small_trainer(config)
    for _ in range(21):
        trainer.step()
    players = trainer.state.players
    assert not players.G_ema.training and players.G.training
    for module in players.G.modules():
        if isinstance(module, ConditionalBatchNorm):
            assert module.running_mean.eq(0).all() and module.running_var.eq(1).all()
    z, c = torch.randn(2000, 8), one_hot(torch.arange(2000) % 3, 3)
    synthesis = players.G_ema.synthesis
    assert isinstance(synthesis, SnganSynthesis)
    settled = [(n.running_mean.clone(), n.running_var.clone()) for n in synthesis.norms()]
    synthesis.settle(players.G_ema.mapping(z, c), momentum=1.0)
    for (mean, var), exact in zip(settled, synthesis.norms(), strict=True):
        assert ((mean - exact.running_mean).abs() < 0.25 * exact.running_var.sqrt()).all()
        assert ((var / exact.running_var).log().abs() < 0.25).all()


@pytest.mark.parametrize("noise_model", ["global", "local", "none"])
def test_every_noise_model_trains_and_resumes_bit_for_bit(noise_model: str) -> None:
    config = small_config(cfg="sngan32", noise_model=noise_model, ada_kimg=0.05)
    straight = small_trainer(config)
    for _ in range(9):
        straight.step()
    first, second = small_trainer(config), small_trainer(config)
    for _ in range(5):
        first.step()
    second.state.load_state_dict(copy.deepcopy(first.state.state_dict()))
    for _ in range(4):
        second.step()
    expected, actual = (t.state.state_dict()["players"] for t in (straight, second))
    for key, tensor in expected.items():
        assert torch.equal(tensor, actual[key]), key


@pytest.mark.parametrize(
    ("losses", "rule"),
    [
        ({"pl_weight": 2.0}, "pl_weight must be 0 with SNGAN"),
        ({"style_mixing": 0.5}, "style_mixing must be 0 with SNGAN"),
    ],
)
def test_what_sngan_cannot_do_is_refused(losses: dict[str, float], rule: str) -> None:
    saved = small_config(cfg="sngan32").model_dump()
    with pytest.raises(ValidationError, match=rule):
        TrainingConfig.model_validate(saved | {"losses": saved["losses"] | losses})


def sngan_config(class_names: tuple[str, ...] = CLASSES) -> TrainingConfig:
    facts = DataFacts(
        width=16,
        height=16,
        num_channels=1,
        num_classes=len(class_names),
        class_names=class_names,
        num_images=100,
        digest="0" * 64,
    )
    given = {"channel_base": 256, "channel_max": 16, "latent_dim": 16, "embed_dim": 16}
    return make_config(resolve_options("sngan32", given, 16, 16), DataConfig(path="none"), facts)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SNGAN network file whose classes differ and whose statistics have settled."""
    config = sngan_config()
    players = Players(config)
    for module in players.G_ema.modules():
        if isinstance(module, ConditionalBatchNorm):
            module.gain.copy_(torch.rand_like(module.gain) + 0.5)
    players.settle_average(torch.randn(64, 16), torch.arange(64) % 3, 1.0)
    path = tmp_path_factory.mktemp("sngan") / "net.safetensors"
    save_network(path, players, config, nimg=5000)
    return path


def test_generate_makes_pictures_of_classes_and_mixtures(network: Path, tmp_path: Path) -> None:
    command = ("--network", network, "--outdir", tmp_path, "--seeds", "0-3", "--trunc", 0.7)
    for center in ("global", "class"):
        status = exit_status(
            generate.main, *command, "--class", "all", "--grid", "--trunc-center", center
        )
        assert status == 0
    assert exit_status(generate.main, *command, "--class", "cat:0.4+dog:0.6") == 0
    assert len(list(tmp_path.rglob("*.png"))) == 3 * 4 + 4 + 1
    for noise_mode in ("random", "none"):
        assert exit_status(generate.main, *command, "--noise-mode", noise_mode) == 0


def test_interpolation_goes_from_class_to_class_and_through_latents(
    network: Path, tmp_path: Path
) -> None:
    for mode, space in (("class", "w"), ("both", "z"), ("latent", "w")):
        status = exit_status(
            interpolation.main, "--network", network, "--outdir", tmp_path / mode, "--mode", mode,
            "--space", space, "--seconds", 0.2, "--fps", 10, "--format", "frames",
        )  # fmt: skip
        assert status == 0
        assert list((tmp_path / mode).rglob("*.png"))


def test_a_picture_does_not_depend_on_the_batch_and_half_way_is_the_mixture(network: Path) -> None:
    synthesizer = Synthesizer(load_network(str(network)).generator, StyleConfig())
    together = synthesizer.pictures([1, 2, 3], torch.tensor([0, 1, 2]))
    alone = synthesizer.pictures([2], torch.tensor([1]))
    assert torch.equal(together[1:2], alone)
    z = torch.randn(1, 16)
    cat, dog = (synthesizer.styles(z, one_hot(torch.tensor([label]), 3)) for label in (0, 1))
    half = synthesizer.styles(z, torch.tensor([[0.5, 0.5, 0.0]]))
    torch.testing.assert_close(half, (cat + dog) / 2)


def test_a_network_file_makes_the_same_pictures(network: Path) -> None:
    loaded = load_network(str(network))
    assert loaded.config == sngan_config()
    again = load_network(str(network)).generator
    z, c = torch.randn(3, 16), one_hot(torch.arange(3), 3)
    with torch.no_grad():
        assert torch.equal(loaded.generator(z, c), again(z, c))


def test_classes_of_the_same_name_are_transferred(network: Path) -> None:
    source = load_network(str(network))
    config = sngan_config(("bird", "dog"))
    players = Players(config)
    report = transfer(players, source, config.facts)
    assert not players.G_ema.training
    assert "G.synthesis.b8.norm0.gain: kept 1 of 2 classes, by name" in report
    assert "D.embed.weight: kept 1 of 2 classes, by name" in report
    assert "view_d.rho: kept 1 of 2 classes, by name" in report
    assert [line for line in report if ": new" in line] == []
    z = torch.randn(1, 16)
    with torch.no_grad():
        ours = players.G_ema(z, one_hot(torch.tensor([1]), 2))
        theirs = source.generator(z, one_hot(torch.tensor([1]), 3))
    torch.testing.assert_close(ours, theirs)
