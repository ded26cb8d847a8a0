"""Colour: one random affine map of each image's colours (ADA, appendix B).

Of C channels the first is grey where C is 1 or 2, the first three are red, green and blue where C
is 3 or 4, and one that is left over is transparency, which keeps its values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.augment.chance import gate
from training.augment.config import Strengths

BRIGHTNESS_STD = 0.2  # images being ±1
CONTRAST_STD = 0.5  # of log2 of the factor
SATURATION_STD = 1.0  # of log2 of the factor


def split_transparency(images: Tensor) -> tuple[Tensor, Tensor]:
    """The one or three colour channels of `[N, C, H, W]`, and the one or none of transparency.

    Raises `ValueError` where C is not 1 to 4.
    """
    channels = images.shape[1]
    if channels not in (1, 2, 3, 4):
        raise ValueError(f"images: 1 to 4 channels, found {channels}")
    colors = 1 if channels < 3 else 3
    return images[:, :colors], images[:, colors:]


def draw_colors(count: int, p: Tensor, strengths: Strengths) -> Tensor:
    """Affine maps of colours, float32 `[count, 3, 4]`: what red, green, blue and 1 add to each.

    Each transform has probability p (a scalar) times its strength; the maps are exactly the
    identity where none was drawn.
    """
    brightness, contrast, saturation = torch.randn(3, count, device=p.device)
    hue = (2 * torch.rand(count, device=p.device) - 1) * math.pi
    flip = torch.randint(2, [count], device=p.device)
    return color_map(
        brightness * BRIGHTNESS_STD * gate(count, p, strengths.brightness),
        contrast * CONTRAST_STD * gate(count, p, strengths.contrast),
        flip * gate(count, p, strengths.luma_flip),
        hue * gate(count, p, strengths.hue),
        saturation * SATURATION_STD * gate(count, p, strengths.saturation),
    )


def color_map(
    brightness: Tensor, contrast: Tensor, luma_flip: Tensor, hue: Tensor, saturation: Tensor
) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation, in this order, as `[N, 3, 4]`.

    Args, all `[N]`: brightness is added; contrast and saturation are log2 of factors, on everything
    and on what is not grey; luma_flip is 1 to negate the grey part, 0 not to; hue is an angle in
    radians about the grey axis. Zeros give exactly the identity.

    All but brightness commute: they scale the grey part l of a colour and turn and scale the rest,
    x -> a (l + brightness) + (u + v n×) (x - l), n being the unit vector of grey.
    """
    gain = contrast.exp2()
    a = gain * (1 - 2 * luma_flip)
    u, v = (gain * saturation.exp2() * part for part in (hue.cos(), hue.sin()))
    same = (a + 2 * u) / 3
    following, preceding = ((a - u + sign * math.sqrt(3) * v) / 3 for sign in (-1, 1))
    offset = a * brightness
    rows = [
        torch.stack(row, dim=1)
        for row in (
            [same, following, preceding, offset],
            [preceding, same, following, offset],
            [following, preceding, same, offset],
        )
    ]
    return torch.stack(rows, dim=1)


def recolor(images: Tensor, maps: Tensor) -> Tensor:
    """Map the colours of `[N, C, H, W]` by `maps` `[N, 3, 4]`; grey is mapped to grey."""
    colors, transparency = split_transparency(images)
    maps = maps.to(images.dtype)
    if colors.shape[1] == 1:  # each row adds up to the factor on grey
        maps = torch.cat([maps[:, :1, :3].sum(dim=2, keepdim=True), maps[:, :1, 3:]], dim=2)
    weights = maps[:, :, :, None, None]
    mapped = weights[:, :, -1]
    for channel in range(colors.shape[1]):  # as sums, since TF32 would round a matrix product
        mapped = torch.addcmul(mapped, weights[:, :, channel], colors[:, channel : channel + 1])
    return torch.cat([mapped, transparency], dim=1)
