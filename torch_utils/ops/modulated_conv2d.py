"""Style-modulated convolution (StyleGAN2, section 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_utils.ops.bias_act import ActivationName, modulated_bias_act
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.upfirdn2d_geometry import Padding


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    fused_modconv: bool = True,
) -> Tensor:
    """Convolve each image with weights scaled by its own style, then normalised.

    Args:
        x: `[N, C_in, H, W]`.
        weight: `[C_out, C_in, k, k]`.
        styles: scale of each input channel, `[N, C_in]`.
        noise: added to the result, `[N, 1, H', W']`, `[1, 1, H', W']` or `[H', W']`; None for none.
        up, down, padding, resample_filter, flip_weight: see `conv2d_resample`.
        demodulate: bring each output channel back to unit variance (eq. 3).
        fused_modconv: True scales the weights (one grouped convolution), False scales the
            activations around a shared convolution. Both give the same numbers.

    Returns `[N, C_out, H', W']`. Raises `ValueError` on a wrong `noise`.
    """
    return modulated_conv2d_bias_act(
        x,
        weight,
        styles,
        noise=noise,
        up=up,
        down=down,
        padding=padding,
        resample_filter=resample_filter,
        demodulate=demodulate,
        flip_weight=flip_weight,
        fused_modconv=fused_modconv,
    )


def modulated_conv2d_bias_act(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    b: Tensor | None = None,
    noise: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    fused_modconv: bool = True,
    act: ActivationName = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`bias_act(modulated_conv2d(x, ...), b, ...)`, all that follows the convolution at once.

    Arguments as in `modulated_conv2d` and `bias_act`. With kernels, demodulation (where
    `fused_modconv` is False), noise, bias, activation, gain and clamp take one pass over memory.
    """
    demodulation = _demodulation(weight, styles) if demodulate else None
    if fused_modconv:
        x = _scaled_weights(
            x, weight, styles, demodulation, up, down, padding, resample_filter, flip_weight
        )
        demodulation = None
    else:
        if demodulation is not None and x.dtype == torch.float16:
            weight, styles, demodulation = _within_half(weight, styles, demodulation)
        x = conv2d_resample(
            x * styles[:, :, None, None].to(x.dtype),
            weight.to(x.dtype),
            f=resample_filter,
            up=up,
            down=down,
            padding=padding,
            flip_weight=flip_weight,
        )
    return modulated_bias_act(x, b, demodulation, noise, act, alpha, gain, clamp)


def _demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """1 / σ of each output channel, `[N, C_out]`; σ² sums (style · weight)² over inputs, taps."""
    energy = weight.square().sum(dim=[2, 3])
    return (styles.square() @ energy.T + 1e-8).rsqrt()


def _within_half(
    weight: Tensor, styles: Tensor, demodulation: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same result by factors that half precision holds (ADA, 2006.06676, appendix D.1).

    Styles come to a root mean square of 1, the weights of an output channel to a length of 1. So
    neither the convolution overflows (256 √fan-in is the most that features clamped at 256 give)
    nor its gradient, which is what demodulation multiplies, underflows. As demodulation takes back
    what the scales change, they have no gradient of their own.
    """
    rms = styles.detach().square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-8)  # [N, 1]
    length = weight.detach().square().sum(dim=[1, 2, 3]).sqrt().clamp(min=1e-8)  # [C_out]
    return weight / length[:, None, None, None], styles / rms, demodulation * length * rms


def _scaled_weights(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    demodulation: Tensor | None,
    up: int,
    down: int,
    padding: Padding,
    resample_filter: Tensor | None,
    flip_weight: bool,
) -> Tensor:
    batch = x.shape[0]
    w = weight[None] * styles[:, None, :, None, None]
    if demodulation is not None:
        w = w * demodulation[:, :, None, None, None]
    x = conv2d_resample(
        x.reshape(1, -1, *x.shape[2:]),  # images side by side as groups
        w.reshape(-1, *w.shape[2:]).to(x.dtype),
        f=resample_filter,
        up=up,
        down=down,
        padding=padding,
        groups=batch,
        flip_weight=flip_weight,
    )
    return x.reshape(batch, -1, *x.shape[2:])
