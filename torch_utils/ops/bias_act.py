"""Bias, activation, gain and clamp in one operator."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_utils.ops import bias_act_ops
from torch_utils.ops.bias_act_activations import ACTIVATIONS, Activation, ActivationName
from torch_utils.ops.cuda.bias_act import Spec, Terms
from torch_utils.ops.cuda.jit import Implementation, takes_kernels

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "ActivationName",
    "Implementation",
    "bias_act",
    "modulated_bias_act",
]


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
        b: bias `[x.shape[dim]]`, taken in x's dtype; None for none.
        dim: the dimension of `x` that `b` runs along.
        act: name of the activation.
        alpha: slope of `lrelu` below zero, >= 0; None for the activation's own (0.2).
        gain: factor after the activation; None for the activation's own.
        clamp: largest magnitude of the result, > 0; None for no clamp.
        impl: `torch` for plain tensor operations, `cuda` for kernels, `auto` for kernels on CUDA
            tensors where they can be built.

    Returns a tensor like `x`, differentiable to any order (kernels: to second order, any order for
    `linear`, `relu` and `lrelu`). Raises `ValueError` on a wrong `b`, `dim`, `act`, `alpha`,
    `clamp` or `impl`, and `KernelError` where `impl` is `cuda` and kernels cannot be built.
    """
    if b is not None and not -x.ndim <= dim < x.ndim:
        raise ValueError(f"dim: a dimension of {list(x.shape)}, found {dim}")
    return _apply(x, Terms(b), _spec(dim % max(x.ndim, 1), act, alpha, gain, clamp), impl)


def modulated_bias_act(
    x: Tensor,
    b: Tensor | None = None,
    scale: Tensor | None = None,
    noise: Tensor | None = None,
    act: ActivationName = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    impl: Implementation = "auto",
) -> Tensor:
    """`clamp(gain * act(x * scale + noise + b), ±clamp)`: what follows a modulated convolution.

    Args:
        x: `[N, C, H, W]`.
        b: bias `[C]`; None for none.
        scale: factor of each image and channel (demodulation), `[N, C]`; None for none.
        noise: `[N, 1, H, W]`, `[1, 1, H, W]` or `[H, W]`, strength included; None for none.
        act, alpha, gain, clamp, impl: see `bias_act`.

    b, scale and noise are taken in x's dtype. Returns `[N, C, H, W]`; differentiable and raising as
    `bias_act`.
    """
    if x.ndim != 4:
        raise ValueError(f"x: shape [N, C, H, W], found {list(x.shape)}")
    n, c, h, w = x.shape
    if scale is not None and scale.shape != (n, c):
        raise ValueError(f"scale: shape {[n, c]}, found {list(scale.shape)}")
    if noise is not None:
        if noise.shape not in ((n, 1, h, w), (1, 1, h, w), (h, w)):
            raise ValueError(f"noise: shape {[n, 1, h, w]}, found {list(noise.shape)}")
        noise = noise.reshape(-1, 1, h, w)
    return _apply(x, Terms(b, scale, noise), _spec(1, act, alpha, gain, clamp), impl)


def _spec(dim: int, act: str, alpha: float | None, gain: float | None, clamp: float | None) -> Spec:
    """What to compute, with the activation's own alpha and gain for None."""
    if act not in ACTIVATIONS:
        raise ValueError(f"act: one of {', '.join(ACTIVATIONS)}, found {act!r}")
    activation = ACTIVATIONS[act]
    alpha = activation.alpha if alpha is None else alpha
    gain = activation.gain if gain is None else gain
    if act == "lrelu" and not alpha >= 0:
        raise ValueError(f"alpha: 0 or more, found {alpha}")
    if clamp is not None and not clamp > 0:
        raise ValueError(f"clamp: above 0 or None, found {clamp}")
    return Spec(dim, act, float(alpha), float(gain), clamp)


def _apply(x: Tensor, terms: Terms, spec: Spec, impl: Implementation) -> Tensor:
    b, scale, noise = (None if t is None else t.to(x.dtype) for t in terms)
    if b is not None and (b.ndim != 1 or b.shape[0] != x.shape[spec.dim]):
        raise ValueError(f"b: shape [{x.shape[spec.dim]}], found {list(b.shape)}")
    idle = spec.act == "linear" and spec.gain == 1
    idle = idle and all(t is None for t in (b, scale, noise, spec.clamp))
    if takes_kernels(x, impl) and not idle:
        y: Tensor = bias_act_ops.bias_act(x, b, scale, noise, *spec)
        return y

    activation, gain = ACTIVATIONS[spec.act], spec.gain
    if scale is not None and activation.homogeneous and gain > 0:  # the small tensors take it
        b, scale, noise = (None if t is None else t * gain for t in (b, scale, noise))
        gain = 1.0
    if scale is not None:
        factors = scale[:, :, None, None]
        x = x * factors if noise is None else torch.addcmul(noise, x, factors)
    elif noise is not None:
        x = x + noise
    if b is not None:
        x = x + b.reshape([-1 if i == spec.dim else 1 for i in range(x.ndim)])
    x = activation.function(x, spec.alpha)
    if gain != 1:
        x = x * gain
    return x if spec.clamp is None else x.clamp(-spec.clamp, spec.clamp)
