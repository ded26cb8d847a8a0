"""Laws of the operators, for any filter, factors and padding: what no list of cases shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from torch_utils.ops.bias_act import ActivationName, bias_act
from torch_utils.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

FEW = settings(max_examples=25, deadline=None)
factors = st.tuples(st.integers(1, 3), st.integers(1, 3))
seeds = st.integers(0, 2**31)
taps = st.tuples(st.integers(1, 4), st.integers(1, 4))


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def convolved(f: Tensor, g: Tensor) -> Tensor:
    """f * g in full, `[Hf + Hg - 1, Wf + Wg - 1]`."""
    rows, columns = g.shape[0] - 1, g.shape[1] - 1
    padded = F.pad(f[None, None], [columns, columns, rows, rows])
    return F.conv2d(padded, g.flip([0, 1])[None, None])[0, 0]


@FEW
@given(seeds, taps, factors, factors, st.floats(-2, 2), st.floats(-2, 2))
def test_upfirdn2d_is_linear_in_the_image_and_in_the_filter(
    seed: int, size: tuple[int, int], up: tuple[int, int], down: tuple[int, int], a: float, b: float
) -> None:
    x, y = random(seed, 2, 1, 2, 6, 5)
    f, g = random(seed + 1, 2, *size)

    def apply(images: Tensor, taps: Tensor, gain: float = 1) -> Tensor:
        return upfirdn2d(images, taps, up, down, [3, 2, 1, 4], gain=gain)

    torch.testing.assert_close(apply(a * x + b * y, f), a * apply(x, f) + b * apply(y, f))
    torch.testing.assert_close(apply(x, a * f + b * g), a * apply(x, f) + b * apply(x, g))
    torch.testing.assert_close(apply(x, f, gain=a), a * apply(x, f))


@FEW
@given(seeds, taps, factors)
def test_enlarging_is_the_adjoint_of_shrinking(
    seed: int, size: tuple[int, int], factor: tuple[int, int]
) -> None:
    """<down(x), y> = <x, up(y)>: a correlation undoes what a convolution spreads."""
    (rows, columns), (scale_x, scale_y) = size, factor
    y, f = random(seed, 2, 3, 4, 5), random(seed + 1, rows, columns)
    x = random(seed + 2, 2, 3, (4 - 1) * scale_y + rows, (5 - 1) * scale_x + columns)
    shrunk = upfirdn2d(x, f, down=factor)
    edge_x, edge_y = columns - scale_x, rows - scale_y
    enlarged = upfirdn2d(
        y, f, up=factor, padding=[columns - 1, edge_x, rows - 1, edge_y], flip_filter=True
    )
    assert enlarged.shape == x.shape
    torch.testing.assert_close((shrunk * y).sum(), (x * enlarged).sum())


@FEW
@given(seeds, taps, taps)
def test_two_filters_in_a_row_are_their_convolution(
    seed: int, first: tuple[int, int], second: tuple[int, int]
) -> None:
    x, f, g = random(seed, 1, 2, 9, 8), random(seed + 1, *first), random(seed + 2, *second)
    in_a_row = upfirdn2d(upfirdn2d(x, f, padding=3), g, padding=3)
    at_once = upfirdn2d(x, convolved(f, g), padding=6)
    # The first filter sees zeros beyond its padding, and cuts off what would have leaked there.
    inner = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(in_a_row[inner], at_once[inner])


@FEW
@given(seeds, taps, factors, st.integers(0, 2), st.integers(0, 2))
def test_a_shifted_image_gives_a_shifted_result(
    seed: int, size: tuple[int, int], up: tuple[int, int], shift_x: int, shift_y: int
) -> None:
    x, f = random(seed, 1, 1, 5, 5), random(seed + 1, *size)
    still = F.pad(x, [0, 2, 0, 2])
    moved = F.pad(x, [shift_x, 2 - shift_x, shift_y, 2 - shift_y])
    expected = upfirdn2d(still, f, up, padding=4)
    expected = F.pad(expected, [shift_x * up[0], 0, shift_y * up[1], 0])
    found = upfirdn2d(moved, f, up, padding=4)
    torch.testing.assert_close(found, expected[..., : found.shape[2], : found.shape[3]])


@FEW
@given(seeds, factors)
def test_keeping_every_nth_pixel_undoes_the_zeros_between(
    seed: int, factor: tuple[int, int]
) -> None:
    x = random(seed, 2, 1, 4, 3)
    sparse = upfirdn2d(x, None, up=factor)
    assert sparse.count_nonzero() == x.numel()
    assert torch.equal(upfirdn2d(sparse, None, down=factor), x)


@FEW
@given(seeds, taps)
def test_a_correlation_is_a_convolution_with_the_filter_turned(
    seed: int, size: tuple[int, int]
) -> None:
    x, f = random(seed, 1, 2, 6, 7), random(seed + 1, *size)
    turned = upfirdn2d(x, f.flip([0, 1]), padding=2, flip_filter=True)
    torch.testing.assert_close(turned, upfirdn2d(x, f, padding=2))


@FEW
@given(st.lists(st.floats(0.1, 3), min_size=1, max_size=8), factors)
def test_resampling_keeps_a_constant_away_from_the_edges(
    weights: list[float], factor: tuple[int, int]
) -> None:
    """`setup_filter` sums to one, and `up` makes good for the zeros."""
    f = setup_filter(weights)
    ones = torch.ones(1, 1, 24, 24)
    shrunk = downsample2d(F.pad(ones, [24] * 4, value=1.0), f, down=factor)
    box = setup_filter([1] * max(factor))
    enlarged = upsample2d(ones, box, up=max(factor))
    for result in (filter2d(ones, f), shrunk, enlarged):
        inner = result[..., 8:-8, 8:-8]
        assert inner.numel() > 0
        torch.testing.assert_close(inner, torch.ones_like(inner))


DEFINITIONS: dict[ActivationName, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1),
    "relu": (lambda x: x.clamp(min=0), 2**0.5),
    "lrelu": (lambda x: torch.where(x > 0, x, 0.2 * x), 2**0.5),
    "tanh": (lambda x: 1 - 2 / ((2 * x).exp() + 1), 1),
    "sigmoid": (lambda x: 1 / (1 + (-x).exp()), 1),
    "elu": (lambda x: torch.where(x > 0, x, x.exp() - 1), 1),
    "selu": (
        lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1)),
        1,
    ),
    "softplus": (lambda x: (1 + x.exp()).log(), 1),
    "swish": (lambda x: x / (1 + (-x).exp()), 2**0.5),
}


@pytest.mark.parametrize("act", DEFINITIONS)
@settings(max_examples=15, deadline=None)
@given(
    seed=seeds, dim=st.integers(-3, 2), gain=st.none() | st.floats(-2, 2), clamp=st.floats(0.1, 3)
)
def test_bias_act_is_its_definition(
    act: ActivationName, seed: int, dim: int, gain: float | None, clamp: float
) -> None:
    x = random(seed, 3, 4, 5) * 3
    b = random(seed + 1, x.shape[dim])
    along = [1, 1, 1]
    along[dim] = -1
    function, own_gain = DEFINITIONS[act]
    expected = function(x + b.view(along)) * (own_gain if gain is None else gain)
    torch.testing.assert_close(bias_act(x, b, dim, act, gain=gain), expected)
    limited = bias_act(x, b, dim, act, gain=gain, clamp=clamp)
    torch.testing.assert_close(limited, expected.clamp(-clamp, clamp))
