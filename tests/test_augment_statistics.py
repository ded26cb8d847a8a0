"""How often each transform is used and how its parameters are distributed, as published."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from training.augment import DiffAugment, DiffAugmentConfig, Strengths
from training.augment.chance import Size
from training.augment.color import draw_colors
from training.augment.corruption import add_noise
from training.augment.diff_augment import shift
from training.augment.filtering import draw_gains
from training.augment.geometry import draw_geometry
from training.augment.matrices import is_identity
from training.augment.pipeline import AugmentPipeline
from training.augment.pixels import draw_blits

COUNT = 60_000
SIZE = Size(height=48, width=64)
P = torch.tensor(0.6)
STRENGTH = 0.5
EXPECTED = 0.3  # P * STRENGTH


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def assert_frequency(used: Tensor, probability: float) -> None:
    """`used`, bool `[N]`, is true with this probability, within five standard deviations."""
    tolerance = 5 * math.sqrt(probability * (1 - probability) / len(used))
    assert used.float().mean().item() == pytest.approx(probability, abs=tolerance)


def assert_distributed(samples: Tensor, distribution: str, *parameters: float) -> None:
    """A Kolmogorov-Smirnov test and the spread, neither easily failed by chance."""
    result = stats.kstest(samples.double().numpy(), distribution, args=parameters)
    assert result.pvalue > 1e-4, (distribution, parameters, result)
    spread = getattr(stats, distribution)(*parameters).std()
    assert samples.std().item() == pytest.approx(spread, rel=5 / math.sqrt(2 * len(samples)))


def geometry(**strengths: float) -> Tensor:
    return draw_geometry(COUNT, SIZE, P, Strengths(**strengths))


def blits(**strengths: float) -> Tensor:
    return draw_blits(COUNT, SIZE, P, Strengths(**strengths))


def colors(**strengths: float) -> tuple[Tensor, Tensor]:
    """Maps `[N, 3, 4]` and which of them change anything."""
    maps = draw_colors(COUNT, P, Strengths(**strengths))
    return maps, (maps != torch.eye(3, 4)).flatten(1).any(dim=1)


def test_half_of_the_chosen_images_are_flipped() -> None:
    origins = blits(x_flip=STRENGTH)
    flipped = origins[:, 0, 0] == -1
    assert_frequency(flipped, EXPECTED / 2)
    assert is_identity(origins)[~flipped].all()
    assert torch.equal(origins[:, 1:], torch.eye(3)[1:].expand(COUNT, 2, 3))


def test_each_quarter_turn_is_as_likely_as_none() -> None:
    origins = blits(quarter_turn=STRENGTH)
    for cos, sin in ((0, 1), (-1, 0), (0, -1)):
        turned = (origins[:, 0, 0] == cos) & (origins[:, 1, 0] == sin)
        assert_frequency(turned, EXPECTED / 4)
    assert_frequency(is_identity(origins), 1 - EXPECTED * 3 / 4)


def test_integer_translations_are_uniform_up_to_an_eighth() -> None:
    origins = blits(integer_translation=STRENGTH)
    for axis, size in ((0, SIZE.width), (1, SIZE.height)):
        moved = origins[:, axis, 2]
        reach = size // 8
        assert torch.equal(moved, moved.round())
        for pixels in range(1, reach):  # each bin of rounding is one pixel of 2 * reach wide
            assert_frequency(moved == pixels, EXPECTED / (2 * reach))
            assert_frequency(moved == -pixels, EXPECTED / (2 * reach))
        assert_frequency(moved == reach, EXPECTED / (4 * reach))
        assert moved.abs().max() == reach


def test_scale_is_log_normal() -> None:
    origins = geometry(scaling=STRENGTH)
    used = ~is_identity(origins)
    assert_frequency(used, EXPECTED)
    assert torch.equal(origins[:, 0, 0], origins[:, 1, 1])
    assert_distributed(-origins[used, 0, 0].log2(), "norm", 0, 0.2)


def test_stretching_keeps_the_area_and_is_log_normal() -> None:
    origins = geometry(stretching=STRENGTH)
    used = ~is_identity(origins)
    assert_frequency(used, EXPECTED)
    torch.testing.assert_close(origins[:, 0, 0] * origins[:, 1, 1], torch.ones(COUNT))
    assert_distributed(-origins[used, 0, 0].log2(), "norm", 0, 0.2)


def test_one_of_the_two_rotations_is_used_with_the_given_probability() -> None:
    origins = geometry(rotation=STRENGTH)
    used = ~is_identity(origins)
    assert_frequency(used, EXPECTED)
    angles = torch.atan2(origins[used, 1, 0], origins[used, 0, 0])
    assert_distributed(angles, "uniform", -math.pi, 2 * math.pi)


def test_fractional_translations_are_normal_in_units_of_the_size() -> None:
    origins = geometry(translation=STRENGTH)
    used = ~is_identity(origins)
    assert_frequency(used, EXPECTED)
    assert_distributed(-origins[used, 0, 2] / SIZE.width, "norm", 0, 0.125)
    assert_distributed(-origins[used, 1, 2] / SIZE.height, "norm", 0, 0.125)


def test_transforms_are_chosen_independently() -> None:
    origins = geometry(scaling=STRENGTH, translation=STRENGTH)
    both = (origins[:, 0, 0] != 1) & (origins[:, 0, 2] != 0)
    assert_frequency(both, EXPECTED**2)
    assert_frequency(~is_identity(origins), 1 - (1 - EXPECTED) ** 2)


def test_brightness_is_normal_and_contrast_log_normal() -> None:
    maps, used = colors(brightness=STRENGTH)
    assert_frequency(used, EXPECTED)
    assert_distributed(maps[used, 0, 3], "norm", 0, 0.2)
    maps, used = colors(contrast=STRENGTH)
    assert_frequency(used, EXPECTED)
    assert_distributed(maps[used, 0, 0].log2(), "norm", 0, 0.5)


def test_luma_flips_hue_and_saturation() -> None:
    _, used = colors(luma_flip=STRENGTH)
    assert_frequency(used, EXPECTED / 2)
    maps, used = colors(hue=STRENGTH)
    assert_frequency(used, EXPECTED)
    red = maps[used, :, 0] - 1 / 3  # red without its grey part, turned about the grey axis
    across = torch.tensor([0.0, 1.0, -1.0]) / math.sqrt(2)
    along = torch.tensor([2.0, -1.0, -1.0]) / math.sqrt(6)
    assert_distributed(torch.atan2(red @ across, red @ along), "uniform", -math.pi, 2 * math.pi)
    maps, used = colors(saturation=STRENGTH)
    assert_frequency(used, EXPECTED)
    assert_distributed((maps[used, 0, 0] - maps[used, 0, 1]).log2(), "norm", 0, 1)


def test_each_band_is_amplified_log_normally() -> None:
    gains = draw_gains(COUNT, P, Strengths(filtering=STRENGTH))
    assert_frequency((gains == 1).all(dim=1), (1 - EXPECTED) ** 4)
    highest_alone = (gains[:, 0] == gains[:, 1]) & (gains[:, 1] == gains[:, 2])
    highest_alone &= gains[:, 3] != gains[:, 2]
    assert_frequency(highest_alone, EXPECTED * (1 - EXPECTED) ** 3)
    ratio = gains[highest_alone, 3] / gains[highest_alone, 0]
    assert_distributed(ratio.log2(), "norm", 0, 1)


def test_noise_has_half_normal_strength() -> None:
    images = torch.zeros(20_000, 1, 16, 16)
    strength = add_noise(images, P, Strengths(noise=STRENGTH)).flatten(1).std(dim=1)
    used = strength > 0
    assert_frequency(used, EXPECTED)
    assert_distributed(strength[used], "halfnorm", 0, 0.1)


def test_holes_cover_the_expected_area() -> None:
    pipeline = AugmentPipeline(Strengths(cutout=STRENGTH))
    covered = pipeline(torch.ones(4000, 1, 32, 32), P).eq(0).float().flatten(1).mean(dim=1)
    assert_frequency(covered > 0, EXPECTED)
    # The mean overlap of [0, 1] with an interval of length 1/2 about a uniform centre is 7/16.
    assert covered[covered > 0].mean().item() == pytest.approx((7 / 16) ** 2, abs=0.005)
    assert covered.max() == pytest.approx(1 / 4)


def test_diff_augment_changes_colors_uniformly() -> None:
    color = DiffAugment(DiffAugmentConfig(policy=("color",)))
    flat = color(torch.zeros(5000, 3, 1, 2))
    assert torch.equal(flat[:, 0], flat[:, 2])
    assert_distributed(flat[:, 0, 0, 0], "uniform", -0.5, 1)
    halves = torch.tensor([-0.5, 0.5]).expand(5000, 3, 1, 2)
    grey = color(halves)
    assert_distributed((grey[:, 0, 0, 1] - grey[:, 0, 0, 0]), "uniform", 0.5, 1)
    # One colour: saturation and contrast multiply what is not grey.
    single = torch.tensor([0.5, -0.5, 0.0])[:, None, None].expand(5000, 3, 2, 2)
    product = color(single)
    chroma = product[:, 0, 0, 0] - product[:, 1, 0, 0]
    assert chroma.min() >= 0
    assert chroma.mean().item() == pytest.approx(1, abs=0.05)
    variance = (4 / 3) * (13 / 12) - 1  # of a product of U(0, 2) and U(0.5, 1.5)
    assert chroma.var().item() == pytest.approx(variance, rel=0.1)


def test_diff_augment_moves_uniformly_and_shows_zeros_behind() -> None:
    ramp = 1 + torch.arange(16 * 24.0).reshape(1, 1, 16, 24).repeat(3000, 1, 1, 1)
    moved = shift(ramp)
    for row in (0, 1):
        found = moved[row, 0]
        source = found[found != 0].min().item() - 1
        dy = int(source // 24) - int((found != 0).any(dim=1).int().argmax())
        dx = int(source % 24) - int((found != 0).any(dim=0).int().argmax())
        y, x = slice(max(0, -dy), 16 - max(0, dy)), slice(max(0, -dx), 24 - max(0, dx))
        expected = torch.zeros(16, 24)
        expected[y, x] = ramp[0, 0, y.start + dy : y.stop + dy, x.start + dx : x.stop + dx]
        assert torch.equal(found, expected)
    centre = moved[:, 0, 8, 12] - ramp[0, 0, 8, 12]
    across = (centre + 12).remainder(24) - 12
    for offsets, reach in ((across, 3), ((centre - across) / 24, 2)):
        for offset in range(-reach, reach + 1):
            assert_frequency(offsets == offset, 1 / (2 * reach + 1))
