"""bias_act as operators of torch: forward, first and second derivative, on CPU and CUDA tensors.

With `z = x * scale + noise + b` and `y = clamp(gain * act(z))`, three elementwise primitives:

    bias_act        x, ...           ->  y
    bias_act_grad   dy, r, ...       ->  dz = dy * s(r)
    bias_act_grad2  dy, ddz, r, ...  ->  ddz * s(r), dy * ddz * s'(r)

s is dy/dz, and r is what it is computed from: y for all activations but swish, so that backward
keeps what the next layer keeps anyway; otherwise x, with scale, noise and b. The rest of the chain
rule is below, once for both devices. Where s' is zero (linear, relu, lrelu) derivatives of any
order are exact; elsewhere the third raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from torch_utils.ops.bias_act_activations import ACTIVATIONS
from torch_utils.ops.cuda.bias_act import Spec, Terms, memory_format, plan
from torch_utils.ops.cuda.jit import launch

Gradients = tuple[Tensor | None, ...]

FORWARD, GRAD, GRAD2 = "dudgan::bias_act", "dudgan::bias_act_grad", "dudgan::bias_act_grad2"

_REST = (
    "Tensor? b, Tensor? scale, Tensor? noise, "
    "int dim, str act, float alpha, float gain, float? clamp"
)
_NO_SPEC: Gradients = (None,) * 5  # dim to clamp have no gradient
torch.library.define(FORWARD, f"(Tensor x, {_REST}) -> Tensor")
torch.library.define(GRAD, f"(Tensor dy, Tensor r, {_REST}) -> Tensor")
torch.library.define(GRAD2, f"(Tensor dy, Tensor ddz, Tensor r, {_REST}) -> (Tensor, Tensor)")
bias_act, bias_act_grad, bias_act_grad2 = (
    torch.ops.dudgan.bias_act.default,
    torch.ops.dudgan.bias_act_grad.default,
    torch.ops.dudgan.bias_act_grad2.default,
)


class Call(NamedTuple):
    """The arguments of a primitive: (), (dy,) or (dy, ddz), then x or r, and the rest."""

    gradients: tuple[Tensor, ...]
    x: Tensor
    terms: Terms
    spec: Spec

    @classmethod
    def parse(cls, arguments: tuple[Any, ...]) -> Call:
        """From a primitive's positional arguments."""
        *gradients, x = arguments[:-8]
        return cls(tuple(gradients), x, Terms(*arguments[-8:-5]), Spec(*arguments[-5:]))


# ---- CPU: plain tensor operations, in the arithmetic of the kernels ----


def _forward_cpu(*arguments: Any) -> Tensor:
    call = Call.parse(arguments)
    spec = call.spec
    y = ACTIVATIONS[spec.act].function(_argument(call), spec.alpha) * spec.gain
    return _result(y if spec.clamp is None else y.clamp(-spec.clamp, spec.clamp), call)


def _grad_cpu(*arguments: Any) -> Tensor:
    call = Call.parse(arguments)
    slope, _ = _slope_and_curve(call)
    return _result(call.gradients[0] * slope, call)


def _grad2_cpu(*arguments: Any) -> tuple[Tensor, Tensor]:
    call = Call.parse(arguments)
    dy, ddz = call.gradients
    slope, curve = _slope_and_curve(call)
    return _result(ddz * slope, call), _result(dy * (ddz * curve), call)


def _argument(call: Call) -> Tensor:
    """`x * scale + noise + b` in float32, or float64 for float64."""
    terms = call.terms
    z = call.x.to(torch.promote_types(call.x.dtype, torch.float32))
    if terms.scale is not None:
        z = z * terms.scale[:, :, None, None]
    if terms.noise is not None:
        z = z + terms.noise
    if terms.b is not None:
        z = z + terms.b.reshape([-1 if i == call.spec.dim else 1 for i in range(z.ndim)])
    return z


def _slope_and_curve(call: Call) -> tuple[Tensor, Tensor]:
    """`s(r)` and `s'(r)`."""
    spec, activation = call.spec, ACTIVATIONS[call.spec.act]
    r = _argument(call)
    if activation.from_output:
        y, curve_gain = r, 1.0  # the gain cancels against d act(z) / dy
        r = y / spec.gain if spec.gain != 0 else torch.zeros_like(y)
    else:
        y, curve_gain = activation.function(r, spec.alpha) * spec.gain, spec.gain
    slope = activation.slope(r, spec.alpha) * spec.gain
    curve = activation.curve(r, spec.alpha) * curve_gain if activation.curve else 0 * slope
    if spec.clamp is not None:
        largest = torch.tensor(spec.clamp, dtype=call.x.dtype)  # as y can hold it
        beyond = ~(y.abs() < largest)
        slope, curve = slope.masked_fill(beyond, 0), curve.masked_fill(beyond, 0)
    return slope, curve


def _result(value: Tensor, call: Call) -> Tensor:
    layout = memory_format(call.x, call.spec.dim)
    return value.to(call.x.dtype).contiguous(memory_format=layout)


# ---- CUDA, and shapes alone ----


def _outputs(call: Call) -> tuple[Tensor, ...]:
    """Tensors to be filled: y, or dz, or the gradients of dy and r."""
    layout = memory_format(call.x, call.spec.dim)
    count = max(len(call.gradients), 1)
    return tuple(torch.empty_like(call.x, memory_format=layout) for _ in range(count))


def _fake(*arguments: Any) -> Any:
    outputs = _outputs(Call.parse(arguments))
    return outputs if len(outputs) > 1 else outputs[0]


def _run_kernel(*arguments: Any) -> Any:
    call = Call.parse(arguments)
    outputs = _outputs(call)
    if call.x.numel() > 0:
        layout = memory_format(call.x, call.spec.dim)
        x, *gradients = (t.contiguous(memory_format=layout) for t in (call.x, *call.gradients))
        terms = call.terms.contiguous()  # kept, as x and gradients are, until after the launch
        launch(plan(outputs, x, terms, call.spec, *gradients), x.device)
    return outputs if len(outputs) > 1 else outputs[0]


# ---- the chain rule ----


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    call = Call.parse(inputs)
    terms, spec = call.terms, call.spec
    ctx.spec = spec
    ctx.noise_shape = None if terms.noise is None else terms.noise.shape
    scaled = call.x if terms.scale is not None else None
    if not ACTIVATIONS[spec.act].from_output:
        r = call.x
    elif spec.act == "linear" and spec.clamp is None:
        r, terms = None, Terms()
    else:
        r, terms = output, Terms()
    ctx.save_for_backward(r, *terms, scaled, call.terms.scale)


def _backward(ctx: Any, dy: Tensor) -> Gradients:
    r, b, scale, noise, scaled, by = ctx.saved_tensors
    spec, needs = ctx.spec, ctx.needs_input_grad[:4]
    dz = dy * spec.gain if r is None else bias_act_grad(dy, r, b, scale, noise, *spec)
    return (*_through_terms(dz, scaled, by, ctx.noise_shape, spec.dim, needs), *_NO_SPEC)


def _save_grad(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    call = Call.parse(inputs)
    curved = ACTIVATIONS[call.spec.act].curve is not None
    dy = call.gradients[0] if curved else None
    ctx.spec = call.spec
    ctx.save_for_backward(dy, call.x, *call.terms)


def _grad_backward(ctx: Any, ddz: Tensor) -> Gradients:
    dy, r, b, scale, noise = ctx.saved_tensors
    spec, needs = ctx.spec, ctx.needs_input_grad[1:5]
    rest = (b, scale, noise, *spec)
    if dy is None or not any(needs):
        return (bias_act_grad(ddz, r, *rest), None, None, None, None, *_NO_SPEC)
    d_dy, dr = bias_act_grad2(dy, ddz, r, *rest)
    if ACTIVATIONS[spec.act].from_output:
        return (d_dy, dr, None, None, None, *_NO_SPEC)
    noise_shape = None if noise is None else noise.shape
    return (d_dy, *_through_terms(dr, r, scale, noise_shape, spec.dim, needs), *_NO_SPEC)


def _grad2_backward(ctx: Any, *_: Tensor) -> NoReturn:
    raise RuntimeError(
        "bias_act: its kernels have no third derivative of a curved activation; use impl='torch'"
    )


def _through_terms(
    dz: Tensor,
    x: Tensor | None,
    scale: Tensor | None,
    noise_shape: torch.Size | None,
    dim: int,
    needs: Sequence[bool],
) -> Gradients:
    """From the gradient of `z = x * scale + noise + b` those of x, b, scale and noise."""
    needs_x, needs_b, needs_scale, needs_noise = needs
    dx = db = dscale = dnoise = None
    if needs_x:
        dx = dz if scale is None else dz * scale[:, :, None, None]
    if needs_b:
        db = dz.sum([i for i in range(dz.ndim) if i != dim])
    if needs_scale and x is not None:
        dscale = (dz * x).sum([2, 3])
    if needs_noise and noise_shape is not None:
        dnoise = dz.sum_to_size(noise_shape)
    return dx, db, dscale, dnoise


for _name, _cpu in ((FORWARD, _forward_cpu), (GRAD, _grad_cpu), (GRAD2, _grad2_cpu)):
    torch.library.impl(_name, "cpu", _cpu)
    torch.library.impl(_name, "cuda", _run_kernel)
    torch.library.register_fake(_name, _fake)
torch.library.register_autograd(FORWARD, _backward, setup_context=_save_forward)
torch.library.register_autograd(GRAD, _grad_backward, setup_context=_save_grad)
torch.library.register_autograd(GRAD2, _grad2_backward)
