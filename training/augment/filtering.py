"""Image-space filtering: random gains on four octaves of frequency (ADA, appendix B)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.augment.chance import gate
from training.augment.color import split_transparency
from training.augment.config import Strengths
from training.augment.pixels import mirror_pad
from training.augment.wavelets import SYM2

GAIN_STD = 1.0  # of log2 of a band's gain
# Share of the power of natural images in each band, about 1/f.
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)


def band_filters() -> Tensor:
    """Symmetric filters of the bands 0..π/8, π/8..π/4, π/4..π/2 and π/2..π, float32 `[4, 43]`.

    From the wavelet's low-pass filter H: L(z) = H(z) H(1/z) / 2 passes the lower half of the
    frequencies and 1 - L(z) the upper half, of which the lower half of L(z^2) is the next octave,
    and so on. The four add up to a single 1 in the middle: gains of 1 change nothing.
    """
    low = np.convolve(SYM2, SYM2[::-1]) / 2
    bands, rest = [], np.ones(1)
    for octave in (1, 2, 4):
        spread = np.zeros(octave * (len(low) - 1) + 1)
        spread[::octave] = low
        lower = np.convolve(rest, spread)
        bands.append(_centred(rest, len(lower)) - lower)
        rest = lower
    return torch.tensor(
        np.stack([_centred(band, len(rest)) for band in (rest, *reversed(bands))]),
        dtype=torch.float32,
    )


def _centred(taps: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return np.pad(taps, (length - len(taps)) // 2)


def draw_gains(count: int, p: Tensor, strengths: Strengths) -> Tensor:
    """Gains of the four bands, float32 `[count, 4]`, exactly 1 where no band was drawn.

    Each band is amplified with probability p (a scalar) times the strength.
    """
    used = torch.stack([gate(count, p, strengths.filtering) for _ in POWER], dim=1)
    log_gains = torch.randn(count, len(POWER), device=p.device) * GAIN_STD
    return keep_power((log_gains * used).exp2())


def keep_power(gains: Tensor) -> Tensor:
    """Gains of the bands `[N, 4]`, all four scaled for each so that natural images keep power."""
    power = [1 + share * (gains[:, i].square() - 1) for i, share in enumerate(POWER)]
    return gains / torch.stack(power).prod(dim=0).sqrt()[:, None]


def filter_bands(images: Tensor, gains: Tensor, bands: Tensor) -> Tensor:
    """Amplify the `bands` (`band_filters`) of `[N, C, H, W]` by `gains` `[N, 4]`, along both axes.

    Images go on as their mirror images; transparency is left alone. Where all gains are 1 the image
    is exactly the same.
    """
    colors, transparency = split_transparency(images)
    n, c, height, width = colors.shape
    taps = (gains[:, :, None] * bands).sum(dim=1).to(colors.dtype).repeat_interleave(c, dim=0)
    x = mirror_pad(colors, bands.shape[1] // 2).flatten(0, 1)[None]
    x = F.conv2d(x, taps[:, None, None, :], groups=n * c)
    x = F.conv2d(x, taps[:, None, :, None], groups=n * c)
    same = (gains == 1).all(dim=1)[:, None, None, None]
    filtered = torch.where(same, colors, x.reshape(n, c, height, width))
    return torch.cat([filtered, transparency], dim=1)
