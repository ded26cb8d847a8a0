"""Arithmetic in 16 bits: where it applies, how close it stays, and what a device refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from training_helpers import CPU, batches, small_config, small_trainer

from dnnlib import UserError
from torch_utils.ops.modulated_conv2d import modulated_conv2d_bias_act
from torch_utils.seeding import reseed
from training.backward import EagerBackward
from training.networks.discriminator import Discriminator, DiscriminatorConfig
from training.networks.generator import Architecture, SynthesisBlock
from training.networks.layers import one_hot
from training.networks.precision import set_precision
from training.networks.trunk import TrunkBlock
from training.options import make_config, resolve_options
from training.players import Players
from training.run_options import changed_run_config

CUDA = torch.device("cuda")


def outputs(players: Players) -> tuple[Tensor, Tensor, Tensor]:
    """Images, D's logits and C's features."""
    fixed = torch.Generator().manual_seed(2)
    z = torch.randn(8, players.G.z_dim, generator=fixed)
    c = one_hot(torch.arange(8) % 3, 3)
    t = torch.zeros(8, dtype=torch.int64)
    images = players.G(z, c, noise_mode="const")
    assert players.C is not None
    return images, players.D(images, c, t), players.C.encode(images, t)


@pytest.mark.parametrize("architecture", ["orig", "resnet", "skip"])
def test_bf16_stays_close_to_fp32_and_gives_float32(architecture: str) -> None:
    players = Players(small_config(architecture_d=architecture))
    exact = outputs(players)
    set_precision(players, "bf16", 4)
    rounded = outputs(players)
    for ours, theirs in zip(rounded, exact, strict=True):
        assert ours.dtype == torch.float32
        assert not torch.equal(ours, theirs)  # or it was not used
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)
    set_precision(players, "fp32", 4)
    assert all(map(torch.equal, outputs(players), exact))


def test_only_the_highest_resolutions_and_never_the_base_grid() -> None:
    facts = small_config().facts.model_copy(update={"width": 64, "height": 64})
    options = resolve_options("tiny", {}, 64, 64)
    players = Players(make_config(options, small_config().data, facts))
    for count, expected in ((2, {64, 32}), (9, {64, 32, 16, 8}), (0, set())):
        set_precision(players, "bf16", count)
        low = {
            int(name.rpartition("b")[2])
            for name, block in players.named_modules()
            if isinstance(block, SynthesisBlock | TrunkBlock) and block.dtype == torch.bfloat16
        }
        assert low == expected


def gradients(tensors: list[Tensor], dtype: torch.dtype, gradient: Tensor) -> list[Tensor]:
    """What a modulated convolution in `dtype` is, and its gradients by x, weight and styles."""
    x, weight, styles = (tensor.clone().requires_grad_() for tensor in tensors)
    y = modulated_conv2d_bias_act(
        x.to(dtype), weight, styles, padding=1, fused_modconv=False, act="lrelu", clamp=256
    )
    found = torch.autograd.grad(y, [x, weight, styles], gradient.to(dtype))
    return [tensor.float() for tensor in (y.detach(), *found)]


@pytest.mark.parametrize(
    ("channels", "size", "peak", "spread", "gradient"),
    [(512, 4, 50.0, 5.0, 1e-3), (128, 32, 1.0, 0.3, 1e-6)],
    ids=["large features", "small gradients"],
)
def test_modulation_in_fp16_neither_overflows_nor_loses_gradients(
    channels: int, size: int, peak: float, spread: float, gradient: float
) -> None:
    torch.manual_seed(0)
    x = (peak * torch.randn(2, channels, size, size)).clamp(-256, 256)
    weight, styles = torch.randn(channels, channels, 3, 3), 1 + spread * torch.randn(2, channels)
    dy = gradient * torch.randn_like(x)
    exact = gradients([x, weight, styles], torch.float32, dy)
    half = gradients([x, weight, styles], torch.float16, dy)
    for ours, theirs in zip(half, exact, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 0.05


def test_modulation_in_fp16_of_nothing_is_nothing() -> None:
    x, weight = torch.randn(2, 4, 8, 8), torch.randn(4, 4, 3, 3)
    weight[1] = 0
    for styles in (torch.zeros(2, 4), torch.ones(2, 4)):
        y = gradients([x, weight, styles], torch.float16, torch.ones(2, 4, 8, 8))
        assert all(tensor.isfinite().all() for tensor in y)
        assert (y[0][:, 1] == 0).all()


@pytest.mark.parametrize("name", ["C", "G", "G_reg", "D", "D_reg"])
def test_gradients_in_fp16_are_those_of_fp32(name: str) -> None:
    exact = small_config(pl_weight=2.0, batch_gpu=4)
    half = exact.model_copy(update={"run": exact.run.model_copy(update={"precision": "fp16"})})
    found = []
    for config in (exact, half):
        trainer = small_trainer(config)
        backward = trainer.backward[name]
        assert isinstance(backward, EagerBackward)
        backward.weight *= 2**-16  # gradients as small as those of large images
        reseed(1)
        (draw,) = trainer.draw(next(trainer.data), 1)
        trainer.differentiate(backward.phase, draw)
        assert int(trainer.share_gradients(backward.phase)) == 0
        gradients = [p.grad for p in backward.phase.trained if p.grad is not None and p.dim() == 4]
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    assert float(torch.cosine_similarity(found[0], found[1], dim=0)) > 0.99
    assert float(found[1].norm() / found[0].norm()) == pytest.approx(1, rel=0.05)


def test_training_in_bf16_moves_every_player() -> None:
    trainer = small_trainer(small_config(precision="bf16", pl_weight=2.0))
    before = [p.clone() for p in trainer.state.players.parameters()]
    for _ in range(2):
        trainer.step()
    after = list(trainer.state.players.parameters())
    assert all(p.isfinite().all() for p in after)
    moved = sum(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert moved > 0.9 * len(before)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"precision": "fp16"}, "--precision fp16: only CUDA devices compute in it, found cpu"),
        ({"allow_tf32": True}, "--precision tf32: only CUDA"),
        ({"fp32": True, "precision": "bf16"}, "--precision: one at a time, found fp32 and bf16"),
        ({"cuda_graphs": True}, "--cuda-graphs: only CUDA devices have them, found cpu"),
    ],
)
def test_what_a_cpu_cannot_do_is_refused(given: dict[str, object], line: str) -> None:
    with pytest.raises(UserError, match=line):
        small_config(**given)


def test_defaults_follow_the_device() -> None:
    config = small_config()
    on_cpu = config.run
    assert (on_cpu.precision, on_cpu.nhwc, on_cpu.cuda_graphs) == ("fp32", True, False)
    options = resolve_options("auto", {}, 64, 64)
    on_cuda = make_config(options, config.data, config.facts, CUDA).run
    assert (on_cuda.precision, on_cuda.nhwc, on_cuda.cuda_graphs) == ("fp16", True, True)
    for cfg in ("tiny", "sngan32"):  # features that nothing clamps
        unclamped = make_config(resolve_options(cfg, {}, 64, 64), config.data, config.facts, CUDA)
        assert unclamped.run.precision == "fp32"
    given = {"fp32": True, "cuda_graphs": False, "nobench": True}
    options = resolve_options("auto", given, 64, 64)
    asked = make_config(options, config.data, config.facts, CUDA).run
    assert (asked.precision, asked.nhwc, asked.cuda_graphs) == ("fp32", False, False)
    assert not asked.cudnn_benchmark


def test_a_run_goes_on_in_another_arithmetic_and_on_another_device() -> None:
    options = resolve_options("auto", {"low_resolutions": 2}, 64, 64)
    saved = make_config(options, small_config().data, small_config().facts, CUDA).run
    assert changed_run_config(saved, {}, CUDA) == saved
    moved = changed_run_config(saved, {"precision": "bf16", "kimg": 7.0}, CPU)
    assert (moved.precision, moved.kimg, moved.cuda_graphs) == ("bf16", 7.0, False)
    assert moved.low_resolutions == 2
    assert changed_run_config(saved, {"fp32": True}, CUDA).precision == "fp32"
    exact = saved.model_copy(update={"precision": "fp32"})
    assert changed_run_config(exact, {"fp32": False, "allow_tf32": False}, CUDA) == exact
    plain = saved.model_copy(update={"cuda_graphs": False, "cudnn_benchmark": False})
    assert changed_run_config(plain, {}, CUDA) == plain
    assert changed_run_config(plain, {"cuda_graphs": True, "nobench": False}, CUDA) == saved
    assert not changed_run_config(plain, {"precision": "fp32"}, CPU).cudnn_benchmark
    with pytest.raises(UserError, match="--precision fp16: only CUDA"):
        changed_run_config(saved, {}, CPU)
    with pytest.raises(UserError, match="--snap"):
        changed_run_config(saved, {"snap": 0}, CUDA)


def test_frozen_layers_stay_and_all_others_learn() -> None:
    config = small_config(freezed=2, batch_gpu=4)
    trainer = small_trainer(config)
    D = trainer.state.players.D
    before = {name: parameter.clone() for name, parameter in D.named_parameters()}
    trainer.data = batches(config)
    trainer.step()
    stayed = {n for n, p in D.named_parameters() if torch.equal(p, before[n])}
    assert stayed == {
        "b8.fromrgb.weight", "b8.fromrgb.bias", "b8.conv0.weight", "b8.conv0.bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("resnet", "b16.fromrgb b16.conv0 b16.conv1 b16.skip b8.conv0 b8.conv1 b8.skip"),
        ("orig", "b16.fromrgb b16.conv0 b16.conv1 b8.conv0 b8.conv1"),
        ("skip", "b16.fromrgb b16.conv0 b16.conv1 b8.fromrgb b8.conv0 b8.conv1"),
    ],
)
def test_layers_that_can_be_frozen_are_counted_as_published(
    architecture: Architecture, names: str
) -> None:
    D = Discriminator(DiscriminatorConfig(architecture=architecture), 0, None, 16, 16, 3)
    called = {module: name for name, module in D.named_modules()}
    assert " ".join(called[layer] for layer in D.layers()) == names
