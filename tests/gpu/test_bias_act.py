"""The kernels of bias_act on a GPU, against the plain operations in float64."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from torch_utils.ops import bias_act_ops
from torch_utils.ops.bias_act import ACTIVATIONS, ActivationName, bias_act, modulated_bias_act
from torch_utils.ops.cuda import jit
from torch_utils.ops.cuda.bias_act import memory_format

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 1.6e-2, torch.float32: 2e-6, torch.float64: 1e-13}
LAYOUTS = [torch.contiguous_format, torch.channels_last]
SHAPES = [(0, 8, 4, 4), (3, 64, 1, 1), (2, 16, 8, 12), (2, 8, 65, 64)]
DRAW = random.Random(0)
SHAPES += [(DRAW.randint(1, 4), *(DRAW.randint(1, 40) for _ in range(3))) for _ in range(4)]


def images(
    shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format = LAYOUTS[0]
) -> Tensor:
    x = torch.randn(shape, device=CUDA).mul(2).to(dtype)
    return x.contiguous(memory_format=layout).requires_grad_()


def close(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(
        actual.double(), expected.double(), rtol=tolerance, atol=tolerance, check_stride=False
    )


def test_kernels_are_to_be_had() -> None:
    assert jit.problem(CUDA) is None


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_values_match_plain_operations(
    act: ActivationName, dtype: torch.dtype, layout: torch.memory_format, poisoned: None
) -> None:
    for number, shape in enumerate(SHAPES):
        torch.manual_seed(number)
        x = images(shape, dtype, layout)
        b, clamp = images(shape[1:2], dtype), (None, 1.5)[number % 2]
        y = bias_act(x, b, act=act, clamp=clamp, impl="cuda")
        exact = bias_act(x.double(), b.double(), act=act, clamp=clamp, impl="torch")
        assert y.dtype == dtype
        assert y.is_contiguous(memory_format=memory_format(x, 1))
        close(y, exact, dtype)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_derivatives_match_the_primitives_on_a_cpu(
    act: ActivationName, dtype: torch.dtype, layout: torch.memory_format, poisoned: None
) -> None:
    for number, shape in enumerate(SHAPES):
        torch.manual_seed(number)
        dy, ddz, r = (images(shape, dtype, layout).detach() for _ in range(3))
        # A clamp that every dtype holds, since it decides where the slope is zero.
        rest = (None, None, None, 1, act, 0.2, 1.5, (None, 1.5)[number % 2])
        exact = [t.double().cpu() for t in (dy, ddz, r)]
        dz = bias_act_ops.bias_act_grad(dy, r, *rest)
        close(dz.cpu(), bias_act_ops.bias_act_grad(exact[0], exact[2], *rest), dtype)
        found = bias_act_ops.bias_act_grad2(dy, ddz, r, *rest)
        for actual, expected in zip(found, bias_act_ops.bias_act_grad2(*exact, *rest), strict=True):
            scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
            close(actual.cpu() / scale, expected / scale, dtype)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_scale_and_noise_match_plain_operations(
    dtype: torch.dtype, layout: torch.memory_format, poisoned: None
) -> None:
    for number, (n, c, h, w) in enumerate(SHAPES):
        torch.manual_seed(number)
        x, b, scale = (
            images((n, c, h, w), dtype, layout),
            images((c,), dtype),
            images((n, c), dtype),
        )
        noise = images((n if number % 2 else 1, 1, h, w), dtype)
        inputs = (x, b, scale, noise)
        y = modulated_bias_act(*inputs, act="lrelu", clamp=4.0, impl="cuda")
        exact = modulated_bias_act(
            *(t.double() for t in inputs), act="lrelu", clamp=4.0, impl="torch"
        )
        close(y, exact, dtype)


@pytest.mark.parametrize("clamp", [None, 0.7])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_both_derivatives_are_those_of_the_function(
    act: ActivationName, clamp: float | None, poisoned: None
) -> None:
    torch.manual_seed(0)

    def function(x: Tensor, b: Tensor, scale: Tensor, noise: Tensor) -> Tensor:
        return modulated_bias_act(x, b, scale, noise, act=act, gain=1.3, clamp=clamp, impl="cuda")

    sizes = ((2, 3, 2, 2), (3,), (2, 3), (1, 1, 2, 2))
    inputs = [images(size, torch.float64) for size in sizes]
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def layer(x: Tensor, b: Tensor) -> Tensor:
    return bias_act(x * 2, b, act="lrelu", clamp=1.0, impl="cuda") + 1


def plain_layer(x: Tensor, b: Tensor) -> Tensor:
    return bias_act(x * 2, b, act="lrelu", clamp=1.0, impl="torch") + 1


def test_work_waits_for_the_stream_it_is_on() -> None:
    x, b = torch.zeros(4, 8, 64, 64, device=CUDA), torch.zeros(8, device=CUDA)
    layer(x, b)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(10**8)  # about 50 ms, during which the input is still 0
        y = layer(x.add_(0.25), b)
        torch.cuda.current_stream().synchronize()
    torch.testing.assert_close(y, plain_layer(torch.full_like(x, 0.25), b))


def test_a_thread_that_has_not_used_the_gpu_can_launch() -> None:
    x, b = torch.randn(4, 8, device=CUDA), torch.zeros(8, device=CUDA)
    found: list[Tensor] = []
    thread = threading.Thread(target=lambda: found.append(layer(x, b)))
    thread.start()
    thread.join()
    torch.testing.assert_close(found[0], plain_layer(x, b))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one device")
def test_another_device_than_the_current_one_is_used() -> None:
    x, b = torch.randn(4, 8, device="cuda:1"), torch.zeros(8, device="cuda:1")
    torch.testing.assert_close(layer(x, b), plain_layer(x, b))
    assert torch.cuda.current_device() == 0


@pytest.mark.parametrize("act", ["lrelu", "softplus"])
@pytest.mark.parametrize("warm", [True, False])
def test_a_captured_graph_computes_anew(act: ActivationName, warm: bool) -> None:
    """Also where the first launch of a kernel is inside the capture."""
    x = torch.randn(4, 8, 16, 16, device=CUDA, requires_grad=True)

    def step(impl: str) -> Tensor:
        y = bias_act(x, act=act, clamp=2.0, impl=impl)  # type: ignore[arg-type]
        return torch.autograd.grad(y.square().sum(), x)[0]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step("torch")  # autograd's own first use
        step("cuda")
    torch.cuda.synchronize()
    if not warm:
        jit.get_kernel.cache_clear()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        gradient = step("cuda")
    for _ in range(2):
        with torch.no_grad():
            x.copy_(torch.randn_like(x))
        graph.replay()
        torch.testing.assert_close(gradient, step("torch"), rtol=1e-5, atol=1e-5)


def test_nothing_waits_for_the_device() -> None:
    x, b = images((4, 8, 16, 16), torch.float32), images((8,), torch.float32)

    def penalty() -> None:
        (gradient,) = torch.autograd.grad(layer(x, b).sum(), x, create_graph=True)
        torch.autograd.grad(gradient.square().sum(), x, allow_unused=True)

    penalty()
    torch.cuda.set_sync_debug_mode("error")
    try:
        penalty()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def auto_layer(x: Tensor, b: Tensor) -> Tensor:
    return bias_act(x * 2, b, act="lrelu", clamp=1.0) + 1


@pytest.mark.parametrize("function", [auto_layer, layer], ids=["auto", "cuda"])
def test_compile_takes_forward_and_backward_in_one_graph(
    function: Callable[[Tensor, Tensor], Tensor],
) -> None:
    x, b = images((4, 8, 16, 16), torch.float32), images((8,), torch.float32)
    compiled = torch.compile(function, fullgraph=True)
    actual = torch.autograd.grad(compiled(x, b).square().sum(), [x, b])
    expected = torch.autograd.grad(plain_layer(x, b).square().sum(), [x, b])
    torch.testing.assert_close(actual, expected)


def test_more_than_32_bits_of_elements() -> None:
    size = 2**31 + 2**20
    if torch.cuda.mem_get_info()[0] < 5 * size:
        pytest.skip("not enough memory for two tensors of 4 GiB")
    x = torch.zeros(1, 2, size // 2, dtype=torch.float16, device=CUDA)
    x[0, :, -1] = -1
    y = bias_act(x, torch.tensor([1.0, 2.0], device=CUDA), act="lrelu", gain=1.0, impl="cuda")
    torch.testing.assert_close(y[0, :, -2:].cpu().float(), torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    assert y[0, 0].amin() == 0
    assert y[0, 1].amin() == 1
