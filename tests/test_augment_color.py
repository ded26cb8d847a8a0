"""Colour maps, band filters and corruptions against closed forms and the paper's own steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from training.augment import PRESETS, Strengths
from training.augment.color import color_map, recolor
from training.augment.corruption import add_noise, cut_out
from training.augment.filtering import POWER, band_filters, filter_bands, keep_power
from training.augment.wavelets import SYM2

GREY = np.full(3, 1 / math.sqrt(3))
ONCE = torch.ones(1)


def tensors(*values: float) -> list[Tensor]:
    return [torch.tensor([value]) for value in values]


def step_by_step(
    brightness: float, contrast: float, flip: float, hue: float, saturation: float
) -> NDArray[np.float64]:
    """The paper's product of homogeneous 4x4 matrices."""
    luma = np.zeros((4, 4))
    luma[:3, :3] = np.outer(GREY, GREY)
    steps = [np.eye(4) for _ in range(5)]
    steps[0][:3, 3] = brightness
    steps[1][:3, :3] *= 2**contrast
    steps[2] -= 2 * luma * flip
    steps[3][:3, :3] = Rotation.from_rotvec(GREY * hue).as_matrix()
    steps[4] = luma + (np.eye(4) - luma) * 2**saturation
    steps[4][3, 3] = 1
    product = np.eye(4)
    for step in steps:
        product = step @ product
    return product


@pytest.mark.parametrize(
    "parameters",
    [
        (0.3, 0, 0, 0, 0),
        (0, -0.7, 0, 0, 0),
        (0, 0, 1, 0, 0),
        (0, 0, 0, 1.9, 0),
        (0, 0, 0, 0, 0.8),
        (-0.2, 0.5, 1, -2.6, 1.3),
        (0.4, -1.1, 0, 0.3, -2.0),
    ],
)
def test_color_maps_are_the_product_of_the_paper_s_matrices(
    parameters: tuple[float, float, float, float, float],
) -> None:
    found = color_map(*tensors(*parameters))[0]
    np.testing.assert_allclose(found.numpy(), step_by_step(*parameters)[:3], atol=1e-6)


def test_no_change_is_exact() -> None:
    images = torch.randn(1, 3, 5, 4)
    assert torch.equal(color_map(*tensors(0, 0, 0, 0, 0))[0], torch.eye(3, 4))
    assert torch.equal(recolor(images, color_map(*tensors(0, 0, 0, 0, 0))), images)


def test_flipping_luma_twice_gives_the_image_back_and_once_negates_grey() -> None:
    images = torch.rand(1, 3, 5, 4)
    flip = color_map(*tensors(0, 0, 1, 0, 0))
    flipped = recolor(images, flip)
    torch.testing.assert_close(flipped.mean(dim=1), -images.mean(dim=1))
    torch.testing.assert_close(recolor(flipped, flip), images)


def test_hue_keeps_luma_and_a_third_of_a_turn_moves_red_to_green() -> None:
    images = torch.rand(1, 3, 5, 4)
    turned = recolor(images, color_map(*tensors(0, 0, 0, 0.9, 0)))
    torch.testing.assert_close(turned.mean(dim=1), images.mean(dim=1))
    torch.testing.assert_close(turned.square().sum(dim=1), images.square().sum(dim=1))
    third = recolor(images, color_map(*tensors(0, 0, 0, 2 * math.pi / 3, 0)))
    torch.testing.assert_close(third, images[:, [2, 0, 1]])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_grey_stays_grey_and_transparency_stays(channels: int) -> None:
    colors = 1 if channels < 3 else 3
    grey = torch.rand(1, 1, 5, 4).repeat(1, channels, 1, 1)
    maps = color_map(*tensors(0.1, -0.5, 1, 1.2, 0.7))
    mapped = recolor(grey, maps)
    torch.testing.assert_close(mapped[:, :colors], -(2**-0.5) * (grey[:, :colors] + 0.1))
    assert torch.equal(mapped[:, colors:], grey[:, colors:])


def test_more_channels_than_colors_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 4 channels, found 5"):
        recolor(torch.zeros(1, 5, 4, 4), torch.eye(3, 4)[None])


def test_bands_add_up_to_nothing_and_split_the_spectrum_into_octaves() -> None:
    bands = band_filters().double()
    length = bands.shape[1]
    torch.testing.assert_close(
        bands.sum(dim=0), torch.eye(length, dtype=torch.float64)[length // 2], atol=1e-7, rtol=0
    )
    torch.testing.assert_close(bands, bands.flip(1))
    frequencies = np.linspace(0, math.pi, 257)[None, :]
    offsets = np.arange(length)[:, None] - length // 2
    response = bands.numpy() @ np.cos(offsets * frequencies)

    def low(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        h = np.exp(-1j * np.arange(4)[:, None] * frequency) * np.array(SYM2)[:, None]
        return np.asarray(np.abs(h.sum(axis=0)) ** 2 / 2)

    w = frequencies[0]
    expected = [
        low(w) * low(2 * w) * low(4 * w),
        low(w) * low(2 * w) * (1 - low(4 * w)),
        low(w) * (1 - low(2 * w)),
        1 - low(w),
    ]
    np.testing.assert_allclose(response, expected, atol=1e-6)
    centres = np.array([0, 3 / 16, 3 / 8, 1])
    strongest = response[:, np.round(centres * 256).astype(int)].argmax(axis=0)
    assert strongest.tolist() == [0, 1, 2, 3]


def test_gains_keep_the_power_of_natural_images_step_by_step() -> None:
    torch.manual_seed(0)
    drawn = torch.randn(50, 4).exp2()
    gains = np.ones((50, 4))
    for band in range(4):
        step = np.ones((50, 4))
        step[:, band] = drawn[:, band]
        gains *= step / np.sqrt((step**2 * POWER).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(keep_power(drawn).numpy(), gains, rtol=1e-5)
    assert torch.equal(keep_power(torch.ones(3, 4)), torch.ones(3, 4))


def test_a_band_s_gain_acts_on_its_frequencies_along_both_axes() -> None:
    checkers = (-1.0) ** torch.arange(17)
    images = (checkers[:, None] * checkers).expand(2, 4, 17, 17)
    gains = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.2, 1.0, 1.0, 3.0]])
    filtered = filter_bands(images, gains, band_filters())
    assert torch.equal(filtered[0], images[0])
    torch.testing.assert_close(filtered[1, :3], images[1, :3] * 9)
    assert torch.equal(filtered[1, 3], images[1, 3])
    flat = filter_bands(torch.full([2, 1, 6, 9], 0.5), gains, band_filters())
    torch.testing.assert_close(flat[1], torch.full([1, 6, 9], 0.5 * 0.2**2))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_noise_spares_transparency(channels: int) -> None:
    torch.manual_seed(0)
    images = torch.zeros(3, channels, 8, 8)
    noisy = add_noise(images, torch.ones([]), PRESETS["noise"])
    colors = 1 if channels < 3 else 3
    assert noisy[:, :colors].flatten(1).std(dim=1).gt(0).all()
    assert noisy[:, colors:].eq(0).all()
    assert torch.equal(add_noise(images, torch.ones([]), Strengths()), images)


def test_a_hole_is_a_box_of_half_the_size_cut_off_at_the_borders() -> None:
    torch.manual_seed(0)
    images = torch.ones(500, 2, 12, 20)
    holes = cut_out(images, torch.ones(500)).eq(0)
    assert torch.equal(holes[:, 0], holes[:, 1])
    rows, columns = holes[:, 0].any(dim=2), holes[:, 0].any(dim=1)
    assert torch.equal(holes[:, 0], rows[:, :, None] & columns[:, None, :])
    for sides, size in ((rows, 12), (columns, 20)):
        lengths = sides.sum(dim=1)
        assert sides.int().diff(dim=1).abs().sum(dim=1).max() <= 2  # in one piece
        assert size // 4 <= lengths.min() <= size // 3
        assert lengths.max() == size // 2
    assert torch.equal(cut_out(images, torch.zeros(500)), images)
