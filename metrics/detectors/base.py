"""What a detector is: pictures in, one feature vector a picture out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch.nn import functional as F

from dnnlib.errors import UserError

CHANNELS = (1, 3)  # that detectors see
# More at once falls out of the processor's cache and takes half as long again.
_CPU_BATCH = 8


class Instrument(Protocol):
    """What tells which scores compare: those where all four of these are equal."""

    @property
    def name(self) -> str:
        """What users call it, e.g. 'efficientnet-lite0'."""

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the weights."""

    @property
    def resize(self) -> str:
        """How pictures reach the input size, e.g. 'bicubic-antialias-224'; 'none': as they are."""

    @property
    def precision(self) -> str:
        """Arithmetic that it is computed in: 'fp32', 'fp16'."""


@runtime_checkable
class Detector(Instrument, Protocol):
    """A frozen feature extractor together with its own preprocessing."""

    @property
    def num_features(self) -> int:
        """Length F of a feature vector."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Features, float32 `[N, F]` on the detector's device, of uint8 `[N, C, H, W]`, C 1 or 3.

        `images` may lie on any device. Raises `UserError` for another number of channels.
        """


@runtime_checkable
class ClassDetector(Detector, Protocol):
    """A detector that also tells what it takes its pictures for."""

    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities, float32 `[N, num_classes]` on the CPU, of features `[N, F]`."""


class PerceptualDistance(Instrument, Protocol):
    """How different two pictures look; what path length is measured with.

    Its name says which distance it is: 'vgg16-lpips' with learned channel weights, 'vgg16-plain'.
    """

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Distances, float32 `[N]`, 0 or more, on the detector's device, of `a` and `b`.

        Both float `[N, C, H, W]`, C 1 or 3, in 0..255 and not rounded, on any device. Raises
        `UserError` for another number of channels and for pictures too small to be judged.
        """


def in_batches(
    extract: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """`extract` of `images` `[N, ...]`: whole, on a CPU in parts."""
    size = _CPU_BATCH if device.type == "cpu" else max(len(images), 1)
    return torch.cat([extract(batch) for batch in torch.split(images, size)])


def as_rgb(images: torch.Tensor) -> torch.Tensor:
    """`images` `[N, 1 or 3, H, W]` with three channels: gray is repeated.

    Raises `UserError` for another number of channels: leaving out an alpha channel silently would
    score something else than what was generated.
    """
    channels = images.shape[1]
    if channels not in CHANNELS:
        raise UserError(
            f"metrics: detectors see gray or RGB images, found {channels} channels; "
            "convert the data set to 1 or 3 channels, or train without --metrics"
        )
    return images.expand(-1, 3, -1, -1)


def resize_bicubic(images: torch.Tensor, size: int) -> torch.Tensor:
    """Float `images` `[N, C, H, W]` in 0..255 as `[N, C, size, size]`, clamped to 0..255.

    Bicubic with an antialiasing filter where it shrinks, as Parmar et al. recommend (arXiv
    2104.11222, section 3); the aspect ratio is not kept, so that every pixel counts.
    """
    if images.shape[2:] != (size, size):
        images = F.interpolate(images, (size, size), mode="bicubic", antialias=True)
    return images.clamp(0, 255)
