"""The whole pipeline: exact at p = 0, differentiable twice, without waiting, adaptive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import png, write_zip
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from dnnlib.cli import run
from training.augment import (
    PRESETS,
    AdaConfig,
    AdaptiveAugment,
    AdaptiveProbability,
    AugmentConfig,
    AugmentPipeline,
    DiffAugment,
    DiffAugmentConfig,
    PresetName,
    Strengths,
    make_augment,
)
from training.augment.__main__ import main
from training.augment.chance import Size
from training.augment.geometry import draw_geometry, warp
from training.augment.matrices import rotate
from training.augment.pixels import blit, draw_blits

ALL = PRESETS["bgcfnc"]
NEVER, OFTEN = torch.tensor(0.0), torch.tensor(0.8)


def images(count: int = 6, channels: int = 3, height: int = 12, width: int = 8) -> Tensor:
    return torch.randn(
        count, channels, height, width, generator=torch.Generator().manual_seed(count)
    )


def seeded(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same function of images at every call: the random numbers are always the same."""

    def with_seed(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return function(x)

    return with_seed


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_nothing_changes_at_p_zero(channels: int, dtype: torch.dtype) -> None:
    x = images(channels=channels).to(dtype)
    for name, strengths in PRESETS.items():
        assert torch.equal(AugmentPipeline(strengths)(x, NEVER), x), name


def test_every_image_is_changed_by_itself_or_not_at_all() -> None:
    torch.manual_seed(0)
    x = images(200)
    same = (AugmentPipeline(ALL)(x, torch.tensor(0.02)) == x).flatten(1).all(dim=1)
    assert 0.5 < same.float().mean() < 0.95
    origins = rotate(torch.linspace(0, 3, 200))
    low_pass = AugmentPipeline(ALL).low_pass
    for function in (lambda a, b: warp(a, b, low_pass), blit):
        together = function(x[:4], origins[:4])
        alone = torch.cat([function(x[i : i + 1], origins[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(together, alone)


def test_blitting_comes_before_geometry_in_one_map() -> None:
    x, y = torch.arange(64) - 40, torch.arange(64)[:, None] - 25
    spots = torch.exp(-(x**2 + 2 * y**2) / 50).expand(32, 1, 64, 64)
    strengths = Strengths(x_flip=1, quarter_turn=1, rotation=1, stretching=1, translation=0.5)
    pipeline, always = AugmentPipeline(strengths), torch.ones([])
    found = seeded(lambda images: pipeline(images, always))(spots)
    torch.manual_seed(3)
    blits = draw_blits(32, Size(64, 64), always, strengths)
    origins = draw_geometry(32, Size(64, 64), always, strengths)
    expected = warp(blit(spots, blits), origins, pipeline.low_pass)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_change_images_and_keep_shape_dtype_and_finiteness(name: PresetName) -> None:
    torch.manual_seed(0)
    x = images().half()
    augmented = AugmentPipeline(PRESETS[name])(x, OFTEN)
    assert augmented.shape == x.shape and augmented.dtype == x.dtype
    assert augmented.isfinite().all() and not torch.equal(augmented, x)


def test_each_strength_switches_its_own_transform() -> None:
    """A picture of one colour but for one pixel tells all transforms from another."""
    x = torch.full([64, 3, 16, 16], 0.25)
    x[:, 0] = -0.25
    x[:, :, 5, 3] = 1
    outcomes = []
    for name in Strengths.model_fields:
        torch.manual_seed(0)
        augmented = AugmentPipeline(Strengths(**{name: 1.0}))(x, torch.ones([]))
        assert not torch.equal(augmented, x), name
        outcomes.append(augmented)
    for first, outcome in enumerate(outcomes):
        assert not any(torch.equal(outcome, other) for other in outcomes[first + 1 :])
    assert torch.equal(AugmentPipeline(Strengths())(x, torch.ones([])), x)


def test_memory_layout_makes_no_difference() -> None:
    x = images()
    for augment in (lambda y: AugmentPipeline(ALL)(y, OFTEN), DiffAugment(DiffAugmentConfig())):
        expected = seeded(augment)(x)
        found = seeded(augment)(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_augmentations_are_differentiable_twice(channels: int) -> None:
    x = images(2, channels, 5, 6).double().requires_grad_()
    for augment in (lambda y: AugmentPipeline(ALL)(y, OFTEN), DiffAugment(DiffAugmentConfig())):
        function = seeded(lambda y, augment=augment: augment(y).pow(3))  # type: ignore[misc]
        assert torch.autograd.gradcheck(function, x, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, x, fast_mode=True)


def test_a_gradient_penalty_reaches_the_weights_through_the_augmentation() -> None:
    hidden = nn.Linear(3 * 12 * 8, 4)
    critic = nn.Sequential(nn.Flatten(), hidden, nn.Tanh(), nn.Linear(4, 1))
    x = images().requires_grad_()
    torch.manual_seed(0)
    logits = critic(AugmentPipeline(ALL)(x, OFTEN))
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    gradient.square().sum().backward()  # type: ignore[no-untyped-call]
    assert hidden.weight.grad is not None and hidden.weight.grad.abs().sum() > 0


def test_nothing_waits_for_the_device_nor_depends_on_values() -> None:
    """Tensors without data: reading a value or a shape that depends on one would raise."""
    x = torch.empty(4, 3, 16, 8, device="meta", requires_grad=True)
    ada = AdaptiveAugment(AdaConfig(strengths=ALL)).to("meta")
    for augment in (ada, DiffAugment(DiffAugmentConfig()).to("meta")):
        augmented = augment(x)
        assert augmented.shape == x.shape
        (gradient,) = torch.autograd.grad(augmented.sum(), x, create_graph=True)
        assert gradient.shape == x.shape
        augment.observe(torch.empty(4, 1, device="meta"))
        augment.advance(16)


def test_p_follows_the_signs_of_d_within_its_limits() -> None:
    probability = AdaptiveProbability(target=0.5, kimg=1, max_p=0.3)
    confident, unsure = torch.full([8, 1], 2.0), torch.tensor([[1.0]] * 5 + [[-4.0]] * 3)
    history = []
    for logits in (confident, unsure, unsure, *[confident] * 5, unsure):
        probability.observe(logits)
        probability.move(64)
        history.append(round(probability.p.item(), 4))
    assert history == [0.064, 0.0, 0.0, 0.064, 0.128, 0.192, 0.256, 0.3, 0.236]
    probability.move(64)  # nothing was observed since
    assert probability.p.item() == pytest.approx(0.236)


def test_p_is_the_same_on_all_processes_after_averaging_what_was_observed() -> None:
    ranks = [AdaptiveProbability(0.6, 1) for _ in range(2)]
    ranks[0].observe(torch.ones(6, 1))
    ranks[1].observe(torch.tensor([[1.0], [1.0], [-1.0]]))  # together r = 7 / 9
    observed = [torch.stack(rank.observations()) for rank in ranks]
    for rank in ranks:
        for tensor, mean in zip(rank.observations(), (observed[0] + observed[1]) / 2, strict=True):
            tensor.copy_(mean)
        rank.move(100)
        assert rank.p.item() == pytest.approx(0.1)


def test_adaptive_augmentation_uses_and_keeps_its_p() -> None:
    augment = make_augment(AdaConfig(ada_kimg=1, max_p=1))
    assert isinstance(augment, AdaptiveAugment)
    x = images()
    assert torch.equal(augment(x), x)
    augment.observe(torch.ones(4, 1))
    augment.advance(900)
    assert augment.p.item() == pytest.approx(0.9)
    assert not torch.equal(augment(x), x)
    assert set(augment.state_dict()) == {
        f"probability.{name}" for name in ("p", "sign_sum", "sign_count")
    }


def test_configs_travel_as_json_and_refuse_what_is_wrong() -> None:
    adapter: TypeAdapter[AdaConfig | DiffAugmentConfig] = TypeAdapter(AugmentConfig)
    for config in (AdaConfig(strengths=ALL, max_p=0.5), DiffAugmentConfig(policy=("color",))):
        assert adapter.validate_json(config.to_json()) == config
    assert isinstance(make_augment(DiffAugmentConfig()), DiffAugment)
    listed = DiffAugmentConfig.model_validate({"policy": "translation,cutout"})
    assert listed.policy == ("translation", "cutout")
    for wrong in ({"kind": "no"}, {"kind": "ada", "max_p": 2}, {"kind": "diff", "policy": "hue"}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


@pytest.mark.parametrize("suffix", ["png", "txt"])
def test_the_sheet_shows_the_data_first_and_the_same_at_p_zero(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_zip(tmp_path / "d.zip", {f"{i}.png": png(i, 16, 16) for i in range(5)})
    sheet = tmp_path / f"sheet.{suffix}"
    with pytest.raises(SystemExit) as ended:
        run(main, ["--data", str(data), "--out", str(sheet), "--columns", "4", "--p", "0"])
    if suffix == "txt":
        assert ended.value.code == 2 and "--out" in capsys.readouterr().err
        return
    assert ended.value.code == 0
    pixels = np.asarray(Image.open(sheet))[:, -4 * 48 :]
    rows = pixels.reshape(-1, 48, *pixels.shape[1:])
    assert len(rows) == 1 + len(Strengths.model_fields) + 1 + 4
    same = [(row == rows[0]).all() for row in rows]
    assert same == [True] + [False] * len(Strengths.model_fields) + [True] + [False] * 4
