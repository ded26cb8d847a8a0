"""upfirdn2d as an operator of torch: its transpose, derivatives, tracing and odd arguments."""

from __future__ import annotations

import pytest
import torch
from conftest import load_cases
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from torch_utils.ops.filters import setup_filter
from torch_utils.ops.upfirdn2d import downsample2d, upfirdn2d, upsample2d
from torch_utils.ops.upfirdn2d_geometry import Axis, parse_axes
from torch_utils.ops.upfirdn2d_ops import upfirdn2d as primitive

ARGUMENTS = ([2, 1, 2, 1], [1, 2, -1, 3], False, 1.5)  # axis x, axis y, flip_filter, gain
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def random_image(*shape: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=layout).requires_grad_()


def random_filter(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("case", range(36))
def test_operator_matches_the_vectors(case: int) -> None:
    arguments, v = load_cases("upfirdn2d.npz")[case]
    axes = parse_axes(arguments["up"], arguments["down"], arguments["padding"])
    x = v["x"].requires_grad_()
    y = primitive(x, v.get("f"), *axes, arguments["flip_filter"], arguments["gain"])
    torch.testing.assert_close(y, v["y"], rtol=1e-6, atol=1e-7)
    (dx,) = torch.autograd.grad(y, x, v["dy"])
    torch.testing.assert_close(dx, v["dx"], rtol=1e-5, atol=1e-6)


axes = st.builds(Axis, *[st.integers(1, 4)] * 2, *[st.integers(-3, 6)] * 2)


@given(
    axis_x=axes,
    axis_y=axes,
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    taps=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    flip=st.booleans(),
)
def test_backward_is_the_transpose(
    axis_x: Axis, axis_y: Axis, size: tuple[int, int], taps: tuple[int, int], flip: bool
) -> None:
    width = axis_x.output_size(size[1], taps[1])
    height = axis_y.output_size(size[0], taps[0])
    assume(width > 0 and height > 0)
    x, f = random_image(1, 1, *size), random_filter(*taps)
    y = primitive(x, f, axis_x, axis_y, flip, -0.5)
    assert y.shape == (1, 1, height, width)
    dy = torch.randn(y.shape, dtype=y.dtype)
    (dx,) = torch.autograd.grad(y, x, dy)
    assert dx.shape == x.shape
    torch.testing.assert_close((y * dy).sum(), (x * dx).sum())


@pytest.mark.parametrize("taps", [(), (3,), (4, 3)])
def test_derivatives_to_third_order(taps: tuple[int, ...]) -> None:
    f = random_filter(*taps) if taps else None
    x = random_image(2, 2, 5, 4)

    def function(x: Tensor) -> Tensor:
        return primitive(x, f, *ARGUMENTS)

    def slope(x: Tensor) -> Tensor:
        (dx,) = torch.autograd.grad(function(x).pow(3).sum(), x, create_graph=True)
        return dx

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)
    assert torch.autograd.gradgradcheck(slope, x)


def test_filter_that_wants_a_gradient_gets_it_or_an_error() -> None:
    x, f = random_image(1, 1, 6, 6), random_filter(3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: upfirdn2d(x, f, 2, 1, 2), f)
    with pytest.raises(RuntimeError, match="impl='torch'"):
        primitive(x, f, *ARGUMENTS).sum().backward()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("taps", [(), (3,), (4, 4)])
def test_torch_accepts_the_operator(taps: tuple[int, ...], layout: torch.memory_format) -> None:
    f = random_filter(*taps) if taps else None
    arguments = (random_image(2, 3, 5, 4, layout=layout), f, *ARGUMENTS)
    torch.library.opcheck(primitive, arguments)


class Resampler(nn.Module):
    """Two operators in a row."""

    f: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("f", setup_filter([1, 3, 3, 1]).double())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = primitive(x, self.f, *ARGUMENTS)
        return upsample2d(y, self.f).square()  # the plain path


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_break_with_the_same_gradients(dynamic: bool) -> None:
    torch.compiler.reset()
    module, x = Resampler(), random_image(2, 3, 5, 4)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    torch.testing.assert_close(compiled(x), module(x))
    (actual,) = torch.autograd.grad(compiled(x).sum(), x)
    torch.testing.assert_close(actual, torch.autograd.grad(module(x).sum(), x)[0])


def test_small_images_compile_without_a_break() -> None:
    torch.compiler.reset()
    f, x = setup_filter([1, 3, 3, 1]), torch.randn(1, 2, 8, 8)  # by matrices, unless traced
    compiled = torch.compile(lambda x: downsample2d(x, f), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), downsample2d(x, f))


def test_exports_as_one_operator() -> None:
    x = random_image(2, 3, 5, 4).detach()
    size = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(Resampler(), (x,), dynamic_shapes=(size,))
    assert [node.target for node in program.graph.nodes].count(primitive) == 1
    larger = random_image(1, 3, 11, 8).detach()
    torch.testing.assert_close(program.module()(larger), Resampler()(larger))


@pytest.mark.parametrize("size", [8, 40])
def test_autocast_does_not_narrow(size: int) -> None:
    x, f = random_image(1, 2, size, size).detach().float(), setup_filter([1, 3, 3, 1])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.mm(x[0, 0], x[0, 0]).dtype == torch.bfloat16
        assert upfirdn2d(x, f).dtype == torch.float32
        assert primitive(x, f, *ARGUMENTS).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0, 3, 5, 4), (2, 0, 5, 4), (2, 3, 0, 4), (2, 3, 5, 0)])
@pytest.mark.parametrize("taps", [(), (3,), (3, 3)])
def test_no_pixels(shape: tuple[int, ...], taps: tuple[int, ...], dtype: torch.dtype) -> None:
    f = random_filter(*taps).to(dtype) if taps else None
    x = random_image(*shape).detach().to(dtype).requires_grad_()
    y = primitive(x, f, [2, 1, 2, 2], [1, 2, 3, 3], False, 1.0)
    plain = upfirdn2d(x, f, [2, 1], [1, 2], [2, 2, 3, 3])
    assert torch.equal(y, torch.zeros_like(y))
    assert torch.equal(plain, y)
    assert torch.autograd.grad(y.sum(), x)[0].shape == shape
    assert torch.autograd.grad(plain.sum(), x)[0].shape == shape


def test_padding_that_crops_the_whole_image_leaves_padding() -> None:
    x = torch.full((1, 1, 4, 4), torch.inf)
    y = upfirdn2d(x, random_filter(2, 3).float(), padding=[-4, 7, 0, 0])
    assert torch.equal(y, torch.zeros(1, 1, 3, 5))
    large = upfirdn2d(torch.full((1, 1, 4, 40), torch.inf), None, padding=[50, -40, 0, 0])
    assert torch.equal(large, torch.zeros(1, 1, 4, 50))


@pytest.mark.parametrize("size", [6, 40])
@pytest.mark.parametrize("taps", [(3,), (3, 3)])
def test_gain_may_be_negative(size: int, taps: tuple[int, ...]) -> None:
    x, f = random_image(1, 2, size, size).detach().float(), random_filter(*taps).float()
    torch.testing.assert_close(upfirdn2d(x, f, gain=-2), -2 * upfirdn2d(x, f))


def test_channels_last_stays() -> None:
    x = random_image(2, 3, 5, 4, layout=torch.channels_last)
    y = primitive(x, random_filter(2, 2), *ARGUMENTS)
    assert y.is_contiguous(memory_format=torch.channels_last)
