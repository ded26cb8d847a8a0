"""The activations: value, slope and the slope's derivative, with their default slope and gain."""

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
Formula = Callable[[Tensor, float], Tensor]  # of a tensor and alpha

_SELU_LAMBDA = 1.0507009873554804934193349852946
_SELU_FLOOR = 1.7580993408473768599402175208123  # lambda * alpha of Klambauer 2017
_SOFTPLUS_LINEAR = 20.0  # from here on torch's softplus is the identity


@dataclass(frozen=True)
class Activation:
    """An activation `a(z)`, elementwise, with what derivatives need.

    Attributes:
        function: `a` of z and alpha.
        slope: `a'(z)` of r, which is `a(z)` where the slope follows from it (`from_output`),
            otherwise z.
        curve: derivative of `slope` by r; None where it is zero almost everywhere.
        alpha: slope below zero unless told otherwise.
        gain: factor unless told otherwise; it brings unit-variance inputs back to about unit second
            moment (He 2015).
    """

    function: Formula
    slope: Formula
    curve: Formula | None = None
    from_output: bool = True
    alpha: float = 0.0
    gain: float = 1.0

    @property
    def homogeneous(self) -> bool:
        """Whether `a(g z) = g a(z)` for g > 0, so that a gain may as well come before."""
        return self.curve is None


def _swish_slope(z: Tensor, _: float) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s))


def _swish_curve(z: Tensor, _: float) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 - s) * (2 + z * (1 - 2 * s))


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda z, _: z, slope=lambda r, _: torch.ones_like(r)),
    "relu": Activation(
        lambda z, _: F.relu(z), slope=lambda r, _: (r > 0).to(r.dtype), gain=math.sqrt(2)
    ),
    "lrelu": Activation(
        F.leaky_relu,
        slope=lambda r, alpha: torch.where(r > 0, torch.ones_like(r), alpha),
        alpha=0.2,
        gain=math.sqrt(2),
    ),
    "tanh": Activation(
        lambda z, _: torch.tanh(z), slope=lambda r, _: 1 - r * r, curve=lambda r, _: -2 * r
    ),
    "sigmoid": Activation(
        lambda z, _: torch.sigmoid(z),
        slope=lambda r, _: r * (1 - r),
        curve=lambda r, _: 1 - 2 * r,
    ),
    "elu": Activation(
        lambda z, _: F.elu(z),
        slope=lambda r, _: r.clamp(max=0) + 1,
        curve=lambda r, _: (r <= 0).to(r.dtype),
    ),
    "selu": Activation(
        lambda z, _: F.selu(z),
        slope=lambda r, _: torch.where(r > 0, _SELU_LAMBDA, r + _SELU_FLOOR),
        curve=lambda r, _: (r <= 0).to(r.dtype),
    ),
    "softplus": Activation(
        lambda z, _: F.softplus(z, threshold=_SOFTPLUS_LINEAR),
        slope=lambda r, _: torch.where(r > _SOFTPLUS_LINEAR, 1.0, -torch.expm1(-r)),
        curve=lambda r, _: torch.where(r > _SOFTPLUS_LINEAR, 0.0, torch.exp(-r)),
    ),
    "swish": Activation(
        lambda z, _: F.silu(z),
        slope=_swish_slope,
        curve=_swish_curve,
        from_output=False,
        gain=math.sqrt(2),
    ),
}
