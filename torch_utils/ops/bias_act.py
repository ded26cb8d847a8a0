"""Bias, activation, gain and clamp in one operator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

ActivationName = Literal[
    "linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"
]
Implementation = Literal["auto", "torch"]


@dataclass(frozen=True)
class Activation:
    """An activation with the slope and the gain it has unless told otherwise.

    `gain` brings unit-variance inputs back to about unit second moment (He 2015).
    """

    function: Callable[[Tensor, float], Tensor]
    alpha: float = 0.0
    gain: float = 1.0


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda x, _: x),
    "relu": Activation(lambda x, _: F.relu(x), gain=math.sqrt(2)),
    "lrelu": Activation(F.leaky_relu, alpha=0.2, gain=math.sqrt(2)),
    "tanh": Activation(lambda x, _: torch.tanh(x)),
    "sigmoid": Activation(lambda x, _: torch.sigmoid(x)),
    "elu": Activation(lambda x, _: F.elu(x)),
    "selu": Activation(lambda x, _: F.selu(x)),
    "softplus": Activation(lambda x, _: F.softplus(x)),
    "swish": Activation(lambda x, _: F.silu(x), gain=math.sqrt(2)),
}


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: ActivationName = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    impl: Implementation = "auto",
) -> Tensor:
    """`clamp(gain * act(x + b), ±clamp)`, elementwise.

    Args:
        x: floating tensor of any shape.
        b: bias `[x.shape[dim]]` in x's dtype, or None.
        dim: the dimension of `x` that `b` runs along.
        act: name of the activation.
        alpha: slope of `lrelu` below zero; None for the activation's own (0.2).
        gain: factor after the activation; None for the activation's own.
        clamp: largest magnitude of the result, > 0; None for no clamp.
        impl: `torch` for plain tensor operations; `auto` picks the best there is.

    Returns a tensor like `x`, differentiable to any order. Raises `ValueError` on a wrong `b`,
    `act`, `clamp` or `impl`.
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"act: one of {', '.join(ACTIVATIONS)}, found {act!r}")
    if impl not in ("auto", "torch"):
        raise ValueError(f"impl: auto or torch, found {impl!r}")
    if clamp is not None and not clamp > 0:
        raise ValueError(f"clamp: above 0 or None, found {clamp}")
    activation = ACTIVATIONS[act]
    alpha = activation.alpha if alpha is None else alpha
    gain = activation.gain if gain is None else gain

    if b is not None:
        if b.ndim != 1 or b.shape[0] != x.shape[dim]:
            raise ValueError(f"b: shape [{x.shape[dim]}], found {list(b.shape)}")
        x = x + b.reshape([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])
    x = activation.function(x, alpha)
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)
