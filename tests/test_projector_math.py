"""The formulas of projection: Karras 2020, appendix D, and comparable feature maps."""

from __future__ import annotations

import math

import pytest
import torch
from detector_helpers import digits
from network_helpers import tiny_config
from torch import Tensor, nn

from dnnlib import UserError
from metrics import feature_maps as module
from metrics.detectors.inception_network import Inception
from metrics.detectors.network import NetworkDetector
from metrics.feature_maps import feature_maps
from training.generation.projection import (
    Projection,
    ProjectionConfig,
    TargetDistance,
    learning_rate_ramp,
    noise_correlation,
    style_noise,
)
from training.networks.generator import Generator
from training.players import Players

CPU = torch.device("cpu")


def test_learning_rate_rises_linearly_and_falls_by_a_cosine() -> None:
    shares = (0, 0.025, 0.05, 0.5, 0.75, 0.875, 1)
    expected = (0, 0.5, 1, 1, 1, 0.5, 0)
    assert [learning_rate_ramp(share) for share in shares] == pytest.approx(expected)


def test_style_noise_ends_after_three_quarters() -> None:
    shares = (0, 0.375, 0.75, 0.9)
    assert [style_noise(share) for share in shares] == pytest.approx([0.05, 0.05 / 4, 0, 0])


def test_noise_correlation() -> None:
    # All ones: 1 + 1 at 16 pixels; pooled to 8 pixels of 2: products 4, squares 16 + 16.
    assert noise_correlation(torch.ones(16, 16)).item() == 34
    assert noise_correlation(torch.ones(4, 4)).item() == 2
    columns = torch.tensor([1.0, -1.0]).repeat(8, 4)  # alike downwards, opposite to the right
    assert noise_correlation(columns).item() == 2
    white = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    assert noise_correlation(white).item() < 0.1
    smooth = nn.functional.avg_pool2d(white[None, None], 3, 1, 1)[0, 0]
    assert noise_correlation(smooth / smooth.std()).item() > 0.5
    # Only neighbours matter, whatever wraps around.
    assert torch.isclose(noise_correlation(white), noise_correlation(white.roll(16, 0)))


def generator_of(num_classes: int = 0) -> Generator:
    torch.manual_seed(0)
    generator = Players(tiny_config([str(number) for number in range(num_classes)])).G_ema
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.2)
    return generator.eval().requires_grad_(False)


def flat(pixels: Tensor) -> list[Tensor]:
    return [pixels.flatten(1) / 255]


def test_noise_is_fitted_and_stays_noise() -> None:
    generator = generator_of()
    target = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    last: dict[float | None, float] = {}
    for noise_reg in (None, 1e-6, 1e6):
        config = ProjectionConfig(steps=40, noise_reg=noise_reg)
        search = Projection(generator, TargetDistance(flat, target), torch.zeros(1, 0), config)
        last[noise_reg] = list(search.run())[-1]
    # Free noise follows the target, held back it cannot, and without it a style must do.
    assert last[1e-6] < 0.9 * last[1e6] and last[1e-6] < 0.9 * last[None]
    assert not any(
        parameter.grad is not None and bool(parameter.grad.any())
        for parameter in generator.parameters()
    )


def test_generator_keeps_its_noise() -> None:
    generator = generator_of()
    before = {name: buffer.clone() for name, buffer in generator.named_buffers()}
    config = ProjectionConfig(steps=3, noise_reg=1e5)
    target = torch.zeros(1, 1, 16, 16)
    list(Projection(generator, TargetDistance(flat, target), torch.zeros(1, 0), config).run())
    assert all(torch.equal(buffer, before[name]) for name, buffer in generator.named_buffers())


def test_noise_reg_of_a_generator_without_noise() -> None:
    generator = generator_of()
    for layer in generator.modules():
        getattr(layer, "_buffers", {}).pop("noise_const", None)
    distance = TargetDistance(flat, torch.zeros(1, 1, 16, 16))
    with pytest.raises(UserError, match="--noise-reg: the network has no per-pixel noise"):
        Projection(generator, distance, torch.zeros(1, 0), ProjectionConfig(noise_reg=1.0))


def test_distance_of_transparent_pictures() -> None:
    """Hidden colours do not count, the alpha channel does, and each picture counts by itself."""
    target = torch.full((1, 4, 8, 8), -1.0)  # black, invisible
    distance = TargetDistance(flat, target)
    coloured, opaque = target.clone(), target.clone()
    coloured[:, :3], opaque[:, 3] = 0.7, 1.0
    found = distance(torch.cat([target, coloured, opaque]))
    assert found[:2].tolist() == [0, 0]
    # Colours on grey: 0.5 each become 0; alpha 0 becomes 1; 64 pixels.
    assert found[2].item() == pytest.approx(64 * (3 * 0.25 + 1))


class RandomInception(NetworkDetector):
    """Inception with weights that nobody has trained."""

    name, num_features, resize = "inception", 2048, "bilinear-139"

    def prepare(self, pixels: Tensor) -> Tensor:
        return nn.functional.interpolate(pixels / 128 - 1, (139, 139), mode="bilinear")


@pytest.mark.parametrize(("name", "depths"), [("efficientnet-lite0", 5), ("inception", 4)])
def test_feature_maps(name: str, depths: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "inception":
        detector = RandomInception(Inception(), "0" * 64, CPU)
        monkeypatch.setattr(module, "get_detector", lambda name, device: detector)
    features = feature_maps(name, CPU)
    pixels = digits(2).float().requires_grad_()
    found = features(pixels)
    assert len(found) == depths
    sizes = [each.shape[2] for each in found]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == depths
    for each in found:  # unit length at each pixel, so that a whole map has 1
        assert each.square().sum(dim=(1, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-3)
    for one, other in zip(found, features(pixels.expand(-1, 3, -1, -1)), strict=True):
        assert torch.allclose(one, other, atol=1e-5)  # grey is RGB of equal parts
    distance = sum((each[0] - each[1]).square().sum() for each in found)
    assert isinstance(distance, Tensor) and 0 < distance.item() < 4 * depths
    (gradient,) = torch.autograd.grad(distance, pixels)
    assert (
        math.isfinite(float(gradient.abs().sum())) and gradient.abs().amax(dim=(1, 2, 3)).min() > 0
    )
