"""Pixel blitting and general geometry: known images, exact adjoints, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_utils.ops.upfirdn2d import setup_filter
from training.augment import matrices
from training.augment.geometry import warp
from training.augment.pixels import blit, mirror, mirror_pad
from training.augment.sampling import sample
from training.augment.wavelets import SYM2, SYM6

LOW_PASS = setup_filter(SYM6)
SHAPES = [(16, 16), (20, 16), (8, 32), (4, 4), (2, 3)]


def noise(height: int, width: int, channels: int = 3) -> Tensor:
    """Two images that no filter leaves alone."""
    torch.manual_seed(height * 100 + width)
    return torch.rand(2, channels, height, width) * 2 - 1


def blob(height: int, width: int) -> Tensor:
    """A smooth off-centre spot, `[1, 1, H, W]`, dark at all borders."""
    y, x = torch.arange(height)[:, None], torch.arange(width)
    return _spot(x, y, height, width)[None, None]


def _spot(x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    return torch.exp(-((x - 0.6 * width) ** 2 + 2 * (y - 0.4 * height) ** 2) / 50)


def each(value: float, count: int = 2) -> Tensor:
    return torch.full([count], float(value))


@pytest.mark.parametrize("taps", [SYM2, SYM6])
def test_wavelets_are_orthonormal_with_all_vanishing_moments(taps: tuple[float, ...]) -> None:
    h = np.array(taps)
    order = len(h) // 2
    correlation = np.correlate(h, h, "full")[len(h) - 1 :: 2]
    np.testing.assert_allclose(correlation, np.eye(1, order)[0], atol=1e-12)
    assert h.sum() == pytest.approx(math.sqrt(2), abs=1e-12)
    high_pass = h * (-1.0) ** np.arange(len(h))
    centred = np.linspace(-1, 1, len(h))
    for power in range(order):
        assert (high_pass * centred**power).sum() == pytest.approx(0, abs=1e-10)


def test_sampling_is_bilinear_and_has_all_derivatives_in_the_images() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    grid = torch.rand(2, 3, 6, 2, dtype=torch.float64) * 2.4 - 1.2

    def function(x: Tensor) -> Tensor:
        return sample(x, grid)

    expected = torch.nn.functional.grid_sample(
        images, grid, padding_mode="border", align_corners=True
    )
    torch.testing.assert_close(function(images), expected)
    assert torch.autograd.gradcheck(function, images)
    assert torch.autograd.gradgradcheck(function, images)


def test_matrices_are_what_their_names_say() -> None:
    point = torch.tensor([3.0, 1.0, 1.0])
    moved = matrices.compose(
        matrices.translate(each(10), each(-5)), matrices.scale(each(2), each(0.5))
    )
    assert (moved[0] @ point).tolist() == [16.0, -4.5, 1.0]
    turned = matrices.rotate(each(math.pi / 2))[0] @ point
    torch.testing.assert_close(turned, torch.tensor([-1.0, 3.0, 1.0]))
    for count in range(4):
        exact = matrices.quarter_turn(each(count))
        assert torch.equal(exact, exact.round())
        torch.testing.assert_close(exact, matrices.rotate(each(count * math.pi / 2)))


def test_only_the_exact_identity_is_one() -> None:
    x = torch.tensor([0.0, 1e-6, 2.0])
    assert matrices.is_identity(matrices.translate(x, torch.zeros(3))).tolist() == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("margin", [1, 6, 21])
@pytest.mark.parametrize("shape", SHAPES)
def test_mirroring_is_numpy_s_reflection(shape: tuple[int, int], margin: int) -> None:
    images = noise(*shape)
    expected = np.pad(images.numpy(), [(0, 0), (0, 0), (margin,) * 2, (margin,) * 2], "reflect")
    np.testing.assert_array_equal(mirror_pad(images, margin).numpy(), expected)


def test_mirrored_positions_between_pixels_keep_their_distance() -> None:
    positions = torch.tensor([-0.25, -7.5, 3.0, 3.25, 8.0, 6.0, 9.5])
    assert mirror(positions, 3).tolist() == [0.25, 1.5, 3.0, 2.75, 2.0, 0.0, 2.5]


@pytest.mark.parametrize("shape", SHAPES)
def test_blitting_copies_pixels_exactly(shape: tuple[int, int]) -> None:
    images = noise(*shape)
    one, zero = torch.ones(2), torch.zeros(2)
    assert torch.equal(blit(images, matrices.scale(-one, one)), images.flip(3))
    half_turn = matrices.quarter_turn(2 * one)
    assert torch.equal(blit(images, half_turn), torch.rot90(images, 2, (2, 3)))
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (5, 5), (5, 5)], "reflect")
    height, width = shape
    moved = blit(images, matrices.translate(zero + 2, zero - 5))
    np.testing.assert_array_equal(moved.numpy(), padded[:, :, :height, 7 : 7 + width])


@pytest.mark.parametrize("turns", [1, 3])
def test_quarter_turns_of_squares_are_torch_s(turns: int) -> None:
    images = noise(12, 12)
    turned = blit(images, matrices.quarter_turn(each(turns)))
    assert torch.equal(turned, torch.rot90(images, turns, (2, 3)))


def test_a_quarter_turn_of_a_rectangle_is_about_its_centre() -> None:
    images = noise(8, 20)
    turned = blit(images, matrices.quarter_turn(each(1)))
    middle = torch.rot90(images[:, :, :, 6:14], 1, (2, 3))
    assert torch.equal(turned[:, :, :, 6:14], middle)


def test_between_pixels_the_one_to_the_upper_left_is_copied() -> None:
    images = noise(4, 5)
    turned = blit(images, matrices.quarter_turn(each(1)))
    x, y = torch.arange(5), torch.arange(4)[:, None]
    assert torch.equal(turned, images[:, :, (x - 1).abs().expand(4, 5), (3 - y).expand(4, 5)])


@pytest.mark.parametrize("shape", [*SHAPES, (32, 32), (128, 256)])
def test_warping_by_the_identity_returns_the_image(shape: tuple[int, int]) -> None:
    images = noise(*shape)
    identity = torch.eye(3).expand(2, 3, 3)
    tolerance = 1e-5 * max(1, max(shape) / 32)  # float32 coordinates reach so far
    torch.testing.assert_close(warp(images, identity, LOW_PASS), images, rtol=0, atol=tolerance)


def test_warping_by_whole_pixels_copies_them() -> None:
    images = noise(16, 24)
    moved = warp(images, matrices.translate(each(2), each(-1)), LOW_PASS)
    expected = images[:, :, :-1, 2:]
    torch.testing.assert_close(moved[:, :, 1:, :-2], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_images_stay_in_place(turns: int) -> None:
    """The filter is not symmetric: taking its middle for its centre is off by 0.04 here."""
    image = blob(64, 64)
    turned = warp(image, matrices.rotate(each(turns * math.pi / 2, 1)), LOW_PASS)
    torch.testing.assert_close(turned, torch.rot90(image, turns, (2, 3)), rtol=0, atol=6e-3)


def test_a_scaled_rotated_and_moved_blob_is_where_it_belongs() -> None:
    height, width = 64, 80
    origins = matrices.compose(
        matrices.scale(each(0.8, 1), each(1.2, 1)),
        matrices.rotate(each(0.6, 1)),
        matrices.translate(each(-2.3, 1), each(1.7, 1)),
    )
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    target = torch.stack([x - (width - 1) / 2, y - (height - 1) / 2, torch.ones_like(x)])
    source = torch.einsum("rc,chw->rhw", origins[0], target.float())
    source_x, source_y = source[0] + (width - 1) / 2, source[1] + (height - 1) / 2
    expected = _spot(source_x, source_y, height, width)
    inside = (source_x > 0) & (source_x < width - 1) & (source_y > 0) & (source_y < height - 1)
    warped = warp(blob(height, width), origins, LOW_PASS)[0, 0]
    assert warped[inside].max() > 0.9
    torch.testing.assert_close(warped[inside], expected[inside], rtol=0, atol=6e-3)


def test_far_beyond_the_image_there_are_mirror_images_and_nothing_black() -> None:
    images = torch.full([1, 1, 16, 16], 0.7)
    origins = matrices.compose(
        matrices.scale(each(9, 1), each(5, 1)),
        matrices.rotate(each(1, 1)),
        matrices.translate(each(300.5, 1), each(-77, 1)),
    )
    torch.testing.assert_close(warp(images, origins, LOW_PASS), images, rtol=0, atol=1e-5)
    period = 2 * 63
    away = matrices.translate(each(5 * period, 1), each(-3 * period, 1))
    torch.testing.assert_close(warp(blob(64, 64), away, LOW_PASS), blob(64, 64), rtol=0, atol=3e-3)


def test_warping_has_second_derivatives() -> None:
    torch.manual_seed(1)
    images = torch.randn(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    origins = matrices.compose(
        matrices.rotate(each(0.4)), matrices.translate(torch.tensor([0.3, -6]), each(1))
    )

    def function(x: Tensor) -> Tensor:
        return warp(x, origins, LOW_PASS).square()

    assert torch.autograd.gradcheck(function, images)
    assert torch.autograd.gradgradcheck(function, images)
