"""Gains that layers move into their weights: the same function, to second order."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from torch_utils.ops.bias_act import ACTIVATIONS, ActivationName, modulated_bias_act
from training.networks.layers import Conv2dLayer, FullyConnectedLayer


def doubles(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def with_derivatives(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """`y`, gradients of a function of it, and gradients of the norm of the first of those."""
    first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(first[0].square().sum(), inputs, allow_unused=True)
    return [y, *first, *(tensor for tensor in second if tensor is not None)]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_homogeneous_are_those_that_a_gain_passes_through(name: ActivationName) -> None:
    activation = ACTIVATIONS[name]
    z = torch.linspace(-3, 3, 31)
    before = activation.function(1.7 * z, activation.alpha)
    after = 1.7 * activation.function(z, activation.alpha)
    assert activation.homogeneous == torch.allclose(before, after)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("clamp", [None, 0.8])
def test_convolution_has_its_gain_after_the_activation(
    name: ActivationName, clamp: float | None
) -> None:
    torch.manual_seed(0)
    layer = Conv2dLayer(3, 4, 3, activation=name, conv_clamp=clamp).double()
    assert layer.bias is not None
    torch.nn.init.normal_(layer.bias)
    x, activation = doubles(2, 3, 5, 6), ACTIVATIONS[name]
    inputs = [x, layer.weight, layer.bias]

    z = F.conv2d(x, layer.weight / math.sqrt(27), layer.bias, padding=1)
    y = activation.function(z, activation.alpha) * activation.gain * 0.6
    y = y if clamp is None else y.clamp(-clamp * 0.6, clamp * 0.6)
    found = with_derivatives(layer(x, gain=0.6), inputs)
    torch.testing.assert_close(found, with_derivatives(y, inputs))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_linear_layer_has_its_gain_after_the_activation(name: ActivationName) -> None:
    torch.manual_seed(0)
    layer = FullyConnectedLayer(5, 4, activation=name, lr_multiplier=0.1, bias_init=3).double()
    x, activation = doubles(3, 5), ACTIVATIONS[name]
    inputs = [x, layer.weight, layer.bias]

    z = F.linear(x, layer.weight * 0.1 / math.sqrt(5), layer.bias * 0.1)
    y = activation.function(z, activation.alpha) * activation.gain
    torch.testing.assert_close(with_derivatives(layer(x), inputs), with_derivatives(y, inputs))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("gain", [1.7, 0.0, -1.7])
@pytest.mark.parametrize("noisy", [True, False])
def test_modulated_bias_act_has_its_gain_after_the_activation(
    name: ActivationName, gain: float, noisy: bool
) -> None:
    torch.manual_seed(0)
    x, b, scale, noise = doubles(2, 3, 4, 5), doubles(3), doubles(2, 3), doubles(2, 1, 4, 5)
    inputs = [x, b, scale, *([noise] if noisy else [])]
    activation = ACTIVATIONS[name]

    z = x * scale[:, :, None, None] + (noise if noisy else 0) + b[:, None, None]
    y = activation.function(z, activation.alpha) * gain
    found = modulated_bias_act(x, b, scale, noise if noisy else None, act=name, gain=gain)
    torch.testing.assert_close(with_derivatives(found, inputs), with_derivatives(y, inputs))
