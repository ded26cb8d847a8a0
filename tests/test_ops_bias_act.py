"""bias_act's registered primitives on the CPU: their chain rule is the one the kernels use."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import load_cases
from torch import Tensor

from torch_utils.ops import bias_act as module
from torch_utils.ops import bias_act_ops
from torch_utils.ops.bias_act import ACTIVATIONS, ActivationName, bias_act, modulated_bias_act
from torch_utils.ops.modulated_conv2d import modulated_conv2d, modulated_conv2d_bias_act

CURVED = [name for name, activation in ACTIVATIONS.items() if activation.curve is not None]
STRAIGHT = [name for name in ACTIVATIONS if name not in CURVED]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the public functions take the registered primitives, as they do on a GPU."""
    monkeypatch.setattr(module, "takes_kernels", lambda _, impl: impl != "torch")


def doubles(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("case", range(27))
def test_primitives_match_the_vectors_to_second_order(case: int, registered: None) -> None:
    arguments, v = load_cases("bias_act.npz")[case]
    inputs = [v[key].requires_grad_() for key in ("x", "b") if key in v]
    dy = v["dy"].requires_grad_()
    y = bias_act(*inputs, **arguments)
    gradients = torch.autograd.grad(y, inputs, dy, create_graph=True)
    found = {"y": y, "dx": gradients[0], "db": gradients[-1]}
    found["d_dy"], d2x = torch.autograd.grad(
        (gradients[0] * v["ddx"]).sum(), [dy, inputs[0]], allow_unused=True
    )
    found["d2x"] = torch.zeros_like(y) if d2x is None else d2x
    for key, value in found.items():
        if key in v:
            torch.testing.assert_close(value, v[key], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("clamp", [None, 0.7])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_both_derivatives_are_those_of_the_function(
    act: ActivationName, clamp: float | None, registered: None
) -> None:
    torch.manual_seed(0)

    def function(x: Tensor, b: Tensor, scale: Tensor, noise: Tensor) -> Tensor:
        return modulated_bias_act(x, b, scale, noise, act=act, gain=1.3, clamp=clamp)

    inputs = [doubles(2, 3, 2, 2), doubles(3), doubles(2, 3), doubles(1, 1, 2, 2)]
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("act", STRAIGHT)
def test_straight_activations_have_every_derivative(act: ActivationName, registered: None) -> None:
    x = doubles(4, 3)
    found = []
    for impl in ("torch", "auto"):
        value = bias_act(x, act=act, clamp=1.0, impl=impl).pow(3)
        for _ in range(3):
            (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        found.append(value)
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("act", CURVED)
def test_third_derivatives_of_the_others_say_that_there_are_none(
    act: ActivationName, registered: None
) -> None:
    x = doubles(4, 3)
    value = bias_act(x, act=act).sum()
    for _ in range(2):
        (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"no third derivative.*impl='torch'"):
        torch.autograd.grad(value.sum(), x)


def test_backward_keeps_the_output_alone(registered: None) -> None:
    def kept(act: ActivationName, clamp: float | None) -> tuple[list[Tensor], Tensor]:
        saved: list[Tensor] = []
        x, b = torch.randn(2, 4, requires_grad=True), torch.randn(4, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor
        ):
            y = bias_act(x, b, act=act, clamp=clamp)
        return saved, y

    assert kept("linear", None)[0] == []
    for act in ("linear", "lrelu", "tanh"):
        saved, y = kept(act, 1.0)
        assert [tensor.data_ptr() for tensor in saved] == [y.data_ptr()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_no_gradient_passes_a_clamp_that_the_dtype_cannot_hold(
    dtype: torch.dtype, registered: None
) -> None:
    x = torch.tensor([-3.0, -0.05, 0.05, 3.0], dtype=dtype, requires_grad=True)
    bias_act(x, clamp=0.1).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


OPCHECK: list[tuple[Any, tuple[Any, ...]]] = [
    (bias_act_ops.bias_act, (doubles(2, 3, 2, 2), None, None, None)),
    (bias_act_ops.bias_act, (doubles(2, 3, 2, 2), doubles(3), doubles(2, 3), doubles(1, 1, 2, 2))),
    (bias_act_ops.bias_act_grad, (doubles(5, 3), doubles(5, 3), None, None, None)),
    (bias_act_ops.bias_act_grad, (doubles(5, 3), doubles(5, 3), doubles(3), None, None)),
    (bias_act_ops.bias_act_grad2, (*[doubles(5, 3).detach()] * 3, None, None, None)),
]


@pytest.mark.parametrize("act", ["lrelu", "swish", "tanh"])
@pytest.mark.parametrize("number", range(len(OPCHECK)))
def test_operators_are_registered_as_torch_wants_them(act: str, number: int) -> None:
    operator, tensors = OPCHECK[number]
    torch.library.opcheck(operator, (*tensors, 1, act, 0.2, 1.5, 0.8))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_keep_the_layout_and_the_dtype(
    layout: torch.memory_format, registered: None
) -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.bfloat16).contiguous(memory_format=layout)
    x.requires_grad_()
    y = bias_act(x, torch.zeros(3), act="swish")
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
    for tensor in (y, dx):
        assert tensor.dtype == x.dtype
        assert tensor.is_contiguous(memory_format=layout)


def layer(x: Tensor, b: Tensor) -> Tensor:
    return bias_act(x * 2, b, act="lrelu", clamp=1.0) + 1


def test_compile_takes_forward_and_backward_in_one_graph(registered: None) -> None:
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x, b = doubles(3, 4), doubles(4)
    expected = torch.autograd.grad(layer(x, b).square().sum(), [x, b])
    actual = torch.autograd.grad(compiled(x, b).square().sum(), [x, b])
    torch.testing.assert_close(actual, expected)


def test_export_keeps_the_operator(registered: None) -> None:
    class Layer(torch.nn.Module):
        def forward(self, x: Tensor, b: Tensor) -> Tensor:
            return layer(x, b)

    x, b = torch.randn(3, 4), torch.randn(4)
    shapes = {"x": {0: torch.export.Dim("batch")}, "b": None}
    program = torch.export.export(Layer(), (x, b), dynamic_shapes=shapes)
    assert "dudgan.bias_act" in str(program.graph)
    x = torch.randn(7, 4)
    torch.testing.assert_close(program.module()(x, b), layer(x, b))


@pytest.mark.parametrize("impl", ["torch", "registered"])
def test_under_autocast_the_result_has_the_dtype_of_x(
    impl: str, request: pytest.FixtureRequest
) -> None:
    if impl == "registered":
        request.getfixturevalue("registered")
    b = torch.randn(4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        x = torch.randn(3, 5) @ torch.randn(5, 4)
        y = bias_act(x, b, act="lrelu")
    y.float().sum().backward()
    assert y.dtype == x.dtype == torch.bfloat16
    assert b.grad is not None
    assert b.grad.dtype == torch.float32


@pytest.mark.parametrize("noise_shape", [(2, 1, 4, 4), (1, 1, 4, 4), (4, 4)])
def test_modulated_bias_act_is_the_sum_of_its_parts(noise_shape: tuple[int, ...]) -> None:
    x, b, scale, noise = doubles(2, 3, 4, 4), doubles(3), doubles(2, 3), doubles(*noise_shape)
    expected = bias_act(x * scale[:, :, None, None] + noise, b, act="swish", clamp=0.9)
    actual = modulated_bias_act(x, b, scale, noise, act="swish", clamp=0.9)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("fused_modconv", [True, False])
def test_a_modulated_layer_in_one_call_equals_its_steps(
    fused_modconv: bool, registered: None
) -> None:
    x, styles, weight = doubles(2, 3, 8, 8), doubles(2, 3), doubles(4, 3, 3, 3)
    b, noise = doubles(4), doubles(8, 8)
    convolved = modulated_conv2d(x, weight, styles, noise, padding=1, fused_modconv=fused_modconv)
    y = modulated_conv2d_bias_act(
        x, weight, styles, b, noise, padding=1, fused_modconv=fused_modconv, act="lrelu", clamp=1.0
    )
    torch.testing.assert_close(y, bias_act(convolved, b, act="lrelu", clamp=1.0))


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": torch.zeros(3)},
        {"noise": torch.zeros(2, 3, 4, 4)},
        {"b": torch.zeros(4)},
        {"act": "lrelu", "alpha": -0.1},
        {"impl": "fast"},
        {"impl": "cuda"},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{list(arguments)[-1]}: "):
        modulated_bias_act(torch.zeros(2, 3, 4, 4), **arguments)


def test_a_dimension_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dim: a dimension of \[2, 3\], found 2"):
        bias_act(torch.zeros(2, 3), torch.zeros(2), dim=2)
