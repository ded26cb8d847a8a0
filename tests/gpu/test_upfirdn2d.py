"""upfirdn2d's kernels on a GPU against the plain operations in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from upfirdn2d_cases import (
    COMMON,
    DTYPES,
    LAYOUTS,
    OTHERS,
    SEPARABLE,
    Case,
    assert_near,
    random_inputs,
)

from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.cuda.bias_act import memory_format
from torch_utils.ops.filters import setup_filter
from torch_utils.ops.upfirdn2d import downsample2d, filter2d, upfirdn2d, upsample2d
from torch_utils.ops.upfirdn2d_geometry import Axis

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("poisoned")]
CUDA = torch.device("cuda")
GAIN = -1.5


def kernels_and_plain(
    x: Tensor, f: Tensor | None, case: Case, flip: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y and dx of the kernels, and those of plain operations in float64."""
    up, down = (case.axis_x.up, case.axis_y.up), (case.axis_x.down, case.axis_y.down)
    padding = [*case.axis_x[2:], *case.axis_y[2:]]
    exact_x, exact_f = x.detach().double().requires_grad_(), None if f is None else f.double()
    target = upfirdn2d(exact_x, exact_f, up, down, padding, flip, GAIN, impl="torch")
    dy = torch.randn_like(target).to(x.dtype)
    (target_dx,) = torch.autograd.grad(target, exact_x, dy.double())
    x = x.detach().requires_grad_()
    y = upfirdn2d(x, f, up, down, padding, flip, GAIN, impl="cuda")
    (dx,) = torch.autograd.grad(y, x, dy)
    return y.detach(), dx, target.detach(), target_dx


@pytest.mark.parametrize("case", COMMON + SEPARABLE + OTHERS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_and_backward(dtype: torch.dtype, layout: torch.memory_format, case: Case) -> None:
    torch.manual_seed(0)
    x, f = random_inputs(case, dtype, layout)
    x, f = x.to(CUDA), None if f is None else f.to(CUDA)
    y, dx, target, target_dx = kernels_and_plain(x, f, case, flip=layout == LAYOUTS[1])
    passes = 2 if len(case.taps) == 1 else 1  # each may round
    assert_near(y, target, passes)
    assert_near(dx, target_dx, passes)
    assert y.is_contiguous(memory_format=memory_format(x, 1))


axes = st.builds(Axis, *[st.integers(1, 4)] * 2, *[st.integers(-4, 9)] * 2)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 40), *[st.integers(1, 80)] * 2),
    taps=st.one_of(
        st.just((4, 4)), st.tuples(st.integers(1, 40)), st.tuples(*[st.integers(1, 32)] * 2)
    ),
    axis_x=axes,
    axis_y=axes,
    same=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(LAYOUTS),
)
def test_random_shapes(
    shape: tuple[int, int, int, int],
    taps: tuple[int, ...],
    axis_x: Axis,
    axis_y: Axis,
    same: bool,
    dtype: torch.dtype,
    layout: torch.memory_format,
) -> None:
    axis_y = axis_x if same else axis_y
    assume(axis_x.output_size(shape[3], taps[-1]) > 0 and axis_y.output_size(shape[2], taps[0]) > 0)
    case = Case(shape, taps, axis_x, axis_y, "")
    x, f = random_inputs(case, dtype, layout)
    y, dx, target, target_dx = kernels_and_plain(
        x.to(CUDA), f.to(CUDA) if f is not None else f, case, False
    )
    assert_near(y, target, 2)
    assert_near(dx, target_dx, 2)


@pytest.mark.parametrize("taps", [(), (4,), (12,), (4, 4), (5, 3)])
@pytest.mark.parametrize("factors", [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_derivatives(taps: tuple[int, ...], factors: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 2, 9, 8, dtype=torch.float64, device=CUDA, requires_grad=True)
    f = torch.randn(taps, dtype=torch.float64, device=CUDA) if taps else None

    def function(x: Tensor) -> Tensor:
        return upfirdn2d(x, f, *factors, padding=[6, 4, 5, 7], gain=GAIN, impl="cuda")

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("function", [upsample2d, downsample2d, filter2d])
def test_auto_takes_kernels_and_the_plain_path_where_the_filter_learns(
    function: Callable[..., Tensor],
) -> None:
    x, f = torch.randn(1, 3, 16, 16, device=CUDA), setup_filter([1, 3, 3, 1], device=CUDA)
    x.requires_grad_()
    assert "dudgan" in function(x, f).grad_fn.name()
    assert "dudgan" not in function(x, f, impl="torch").grad_fn.name()
    assert "dudgan" not in function(x, f.clone().requires_grad_()).grad_fn.name()


@pytest.mark.parametrize(("up", "down"), [(2, 1), (1, 2)])
def test_convolutions_that_resample(up: int, down: int) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(2, 8, 32, 32, device=CUDA), torch.randn(8, 8, 3, 3, device=CUDA)
    f = setup_filter([1, 3, 3, 1], device=CUDA)
    y = conv2d_resample(x.double(), w.double(), f, up=up, down=down, padding=1)
    target = conv2d_resample(
        x.double().cpu(), w.double().cpu(), f.cpu(), up=up, down=down, padding=1
    )
    torch.testing.assert_close(y.cpu(), target)


def test_streams_and_every_device() -> None:
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        f = setup_filter([1, 3, 3, 1], device=device)
        x = torch.zeros(8, 16, 128, 128, device=device)
        stream = torch.cuda.Stream(device)
        torch.cuda.synchronize(device)
        with torch.cuda.stream(stream):
            torch.cuda._sleep(20_000_000)  # what does not wait for the stream reads zeros
            x.fill_(1.0)
            y = upsample2d(x, f, impl="cuda")
        stream.synchronize()
        assert y.device == device
        assert torch.equal(y[..., 4:-4, 4:-4], torch.ones_like(y[..., 4:-4, 4:-4]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_graph_capture_of_forward_and_backward(dtype: torch.dtype) -> None:
    f = setup_filter([1, 3, 3, 1], device=CUDA)
    # A size of its own, so that the kernel is first launched inside the capture.
    x = torch.randn(2, 5, 30, 50, device=CUDA, dtype=dtype, requires_grad=True)
    torch.randn_like(x).sum()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = downsample2d(x, f, impl="cuda")
        (dx,) = torch.autograd.grad(y.square().sum(), x)
    for seed in range(3):
        torch.manual_seed(seed)
        with torch.no_grad():
            x.copy_(torch.randn_like(x))
        y.detach().fill_(torch.nan)
        graph.replay()
        exact = x.detach().double().requires_grad_()
        target = downsample2d(exact, f.double(), impl="torch")
        (target_dx,) = torch.autograd.grad(target.square().sum(), exact)
        assert_near(y.detach(), target.detach())
        assert_near(dx, target_dx, 4)


@pytest.mark.parametrize("dynamic", [False, True])
def test_torch_compile_without_a_break(dynamic: bool) -> None:
    torch.compiler.reset()
    f = setup_filter([1, 3, 3, 1], device=CUDA)

    def function(x: Tensor) -> Tensor:
        return filter2d(downsample2d(x * 2, f).relu(), f)

    compiled = torch.compile(function, fullgraph=True, dynamic=dynamic)
    for size in (16, 24):
        x = torch.randn(2, 3, size, size, device=CUDA, requires_grad=True)
        y, target = compiled(x), function(x)
        torch.testing.assert_close(y, target)
        actual, expected = (torch.autograd.grad(out.sum(), x)[0] for out in (y, target))
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_torch_accepts_the_operator(layout: torch.memory_format) -> None:
    x = torch.randn(2, 8, 9, 8, device=CUDA).contiguous(memory_format=layout).requires_grad_()
    f = torch.randn(4, 4, device=CUDA)
    arguments = (x, f, [2, 1, 2, 1], [2, 1, 2, 1], False, 1.0)
    torch.library.opcheck(torch.ops.dudgan.upfirdn2d.default, arguments)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("taps", [(4, 4), (1, 3)])
def test_more_than_2_to_the_31_elements(taps: tuple[int, int], layout: torch.memory_format) -> None:
    shape = (5, 104, 2048, 2048)
    if torch.cuda.mem_get_info()[0] < 5 * shape[0] * shape[1] * shape[2] * shape[3]:
        pytest.skip("needs about 11 GB of free GPU memory")
    x = torch.empty(shape, dtype=torch.float16, device=CUDA, memory_format=layout)
    x[-1].normal_()
    f = torch.randn(taps, device=CUDA)
    y = upfirdn2d(x, f, padding=[taps[1] - 1, 0, taps[0] - 1, 0], impl="cuda")
    assert y.shape == shape
    rows = slice(2048 - 40, 2048)
    last = x[-1:, -8:, rows].double()
    target = upfirdn2d(last, f.double(), padding=[taps[1] - 1, 0, 0, 0], impl="torch")
    assert_near(y[-1:, -8:, 2048 - target.shape[2] :], target)
