"""The operators against the reference vectors, and properties the vectors cannot show."""

from __future__ import annotations

import pytest
import torch
from conftest import load_cases
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.modulated_conv2d import modulated_conv2d
from torch_utils.ops.resampling import resampling_matrix, separate
from torch_utils.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7, check_dtype=False)


@pytest.mark.parametrize("case", range(27))
def test_bias_act_matches_the_vectors_to_second_order(case: int) -> None:
    arguments, v = load_cases("bias_act.npz")[case]
    x = v["x"].requires_grad_()
    b = v["b"].requires_grad_() if "b" in v else None
    dy = v["dy"].requires_grad_()
    y = bias_act(x, b, **arguments)
    close(y, v["y"])
    inputs = [x] if b is None else [x, b]
    dx, *db = torch.autograd.grad(y, inputs, dy, create_graph=True)
    close(dx, v["dx"])
    if b is not None:
        close(db[0], v["db"])
    d_dy, d2x = torch.autograd.grad((dx * v["ddx"]).sum(), [dy, x], allow_unused=True)
    close(d_dy, v["d_dy"])
    close(torch.zeros_like(x) if d2x is None else d2x, v["d2x"])


@pytest.mark.parametrize("case", range(36))
def test_upfirdn2d_matches_the_vectors(case: int) -> None:
    arguments, v = load_cases("upfirdn2d.npz")[case]
    x = v["x"].requires_grad_()
    y = upfirdn2d(x, v.get("f"), **arguments)
    close(y, v["y"])
    close(torch.autograd.grad(y, x, v["dy"])[0], v["dx"])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", range(36))
def test_upfirdn2d_by_matrices_matches_the_vectors(
    case: int, memory_format: torch.memory_format
) -> None:
    arguments, v = load_cases("upfirdn2d.npz")[case]
    x = v["x"].float().contiguous(memory_format=memory_format).requires_grad_()
    y = upfirdn2d(x, v.get("f"), **arguments)
    torch.testing.assert_close(y, v["y"].float(), rtol=1e-5, atol=1e-5)
    (dx,) = torch.autograd.grad(y, x, v["dy"].float())
    torch.testing.assert_close(dx, v["dx"].float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("context", [torch.inference_mode(), torch.device("meta")])
def test_cached_matrices_do_not_remember_who_asked_first(
    context: torch.inference_mode | torch.device,
) -> None:
    f = setup_filter([1, 2, 5, 1])
    x = torch.randn(1, 1, 7, 7)
    resampling_matrix.cache_clear()
    with context:
        upfirdn2d(x, f)
    x.requires_grad_()
    y = upfirdn2d(x, f)
    torch.testing.assert_close(y, upfirdn2d(x.double(), f).float())  # which takes no matrices
    y.sum().backward()
    assert x.grad is not None


def test_filters_that_are_no_product_are_not_taken_apart() -> None:
    assert separate(((1.0, 2.0), (2.0, 4.0)), 2) == ((3.0, 6.0), (1 / 3, 2 / 3))
    assert separate(((1.0, 0.0), (0.0, 1.0)), 2) is None
    assert separate(((1.0, -1.0), (-1.0, 1.0)), 2) is None  # sums to nothing: left alone


def test_upfirdn2d_is_its_own_second_derivative() -> None:
    f = setup_filter([1, 3, 3, 1]).double()
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: upfirdn2d(x, f, 2, 1, [2, 1, 2, 1]), x)
    assert torch.autograd.gradgradcheck(lambda x: upfirdn2d(x, f, 1, 2, [1, 1, 1, 1]), x)


@pytest.mark.parametrize("case", range(len(load_cases("resample.npz"))))
def test_resampling_matches_the_vectors(case: int) -> None:
    arguments, v = load_cases("resample.npz")[case]
    function = {"filter2d": filter2d, "upsample2d": upsample2d, "downsample2d": downsample2d}
    close(setup_filter(arguments["taps"]), v["f"])
    close(function[arguments["fn"]](v["x"], v["f"]), v["y"])


@pytest.mark.parametrize("case", range(len(load_cases("conv2d_resample.npz"))))
def test_conv2d_resample_matches_the_vectors(case: int) -> None:
    arguments, v = load_cases("conv2d_resample.npz")[case]
    close(conv2d_resample(v["x"], v["w"], v.get("f"), **arguments), v["y"])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("case", range(len(load_cases("modulated_conv2d.npz"))))
def test_modulated_conv2d_matches_the_vectors_fused_or_not(case: int, fused: bool) -> None:
    arguments, v = load_cases("modulated_conv2d.npz")[case]
    arguments["fused_modconv"] = fused
    y = modulated_conv2d(
        v["x"], v["weight"], v["styles"], v.get("noise"), resample_filter=v.get("f"), **arguments
    )
    close(y, v["y"])


@given(
    up=st.integers(1, 3),
    down=st.integers(1, 3),
    pads=st.tuples(*[st.integers(-2, 4)] * 4),
    taps=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_upfirdn2d_is_linear_and_matches_its_definition(
    up: int, down: int, pads: tuple[int, int, int, int], taps: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 1, 7, 8, dtype=torch.float64, generator=generator)
    f = torch.randn(taps, taps, dtype=torch.float64, generator=generator)
    zeros = torch.zeros(7 * up, 8 * up, dtype=torch.float64)
    zeros[::up, ::up] = x[0, 0]
    padded = F.pad(zeros, pads)
    if padded.shape[0] < taps or padded.shape[1] < taps:
        with pytest.raises(ValueError, match="smaller than the filter"):
            upfirdn2d(x, f, up, down, pads)
        return
    windows = padded.unfold(0, taps, 1).unfold(1, taps, 1)
    expected = (windows * f.flip([0, 1])).sum([-2, -1])[::down, ::down]
    close(upfirdn2d(x, f, up, down, pads)[0, 0], expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: bias_act(x, act="nonsense"),  # type: ignore[arg-type]
        lambda x: bias_act(x, b=torch.zeros(2)),
        lambda x: bias_act(x, clamp=0.0),
        lambda x: bias_act(x, impl="cuda"),  # type: ignore[arg-type]
        lambda x: upfirdn2d(x[0], None),
        lambda x: upfirdn2d(x.byte(), setup_filter([1, 1])),  # whose taps would round to 0
        lambda x: upfirdn2d(x, None, up=0),
        lambda x: upfirdn2d(x, None, up=2.0),  # type: ignore[arg-type]
        lambda x: upfirdn2d(x, None, down=[2, 2, 2]),
        lambda x: upfirdn2d(x, None, padding=[1, 2, 3]),
        lambda x: upfirdn2d(x, None, padding=[1, 2.5]),  # type: ignore[list-item]
        lambda x: upfirdn2d(x, torch.ones(2, 2, 2)),
        lambda x: upsample2d(x, torch.ones(0)),
        lambda x: setup_filter(torch.zeros(1, 1, 1)),
        lambda x: setup_filter([1, -1]),
        lambda x: setup_filter([0.1, 0.2, -0.3]),
        lambda x: setup_filter([1.0] * 8, gain=-1),
    ],
)
def test_wrong_arguments_are_refused(call: object) -> None:
    with pytest.raises(ValueError, match=":"):
        call(torch.zeros(1, 3, 4, 4))  # type: ignore[operator]
