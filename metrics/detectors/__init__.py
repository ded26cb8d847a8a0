"""Feature extractors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from dnnlib.errors import UserError
from metrics.detectors.base import ClassDetector, Detector, PerceptualDistance
from metrics.detectors.efficientnet_lite0 import EfficientNetLite0Detector
from metrics.detectors.inception import INCEPTION_ADVICE, INCEPTION_WEIGHTS, InceptionDetector
from metrics.detectors.network import Precision
from metrics.detectors.own import load_own
from metrics.detectors.perceptual import load_distance
from metrics.detectors.vgg16 import VGG16_ADVICE, VGG16_WEIGHTS, VGG16Detector
from metrics.detectors.weights import WeightsFile, read_weights

__all__ = [
    "DEFAULT_DETECTOR",
    "DETECTORS",
    "ClassDetector",
    "Detector",
    "PerceptualDistance",
    "get_detector",
    "get_perceptual",
]

DEFAULT_DETECTOR = EfficientNetLite0Detector.name  # its weights come with the installation


def _inception(device: torch.device, precision: Precision) -> Detector:
    file = read_weights(INCEPTION_WEIGHTS.locate(), INCEPTION_ADVICE)
    return InceptionDetector(file, device, precision)


def _vgg16(device: torch.device, precision: Precision) -> Detector:
    return VGG16Detector(read_weights(VGG16_WEIGHTS.locate(), VGG16_ADVICE), device, precision)


DETECTORS: Mapping[str, Callable[[torch.device, Precision], Detector]] = {
    InceptionDetector.name: _inception,
    VGG16Detector.name: _vgg16,
    EfficientNetLite0Detector.name: EfficientNetLite0Detector,
}


def get_detector(name: str, device: torch.device) -> Detector:
    """The detector that users call `name`, on `device`, ready to use.

    `name` is in `DETECTORS`, or the path of a file of weights of Inception or VGG16; with ':fp16'
    behind it, most of the network is computed in float16. Or it is 'FILE.py:CLASS', a detector of
    the user's own. Raises `UserError` for any other, and where the weights are missing or of
    another network.
    """
    source, _, class_name = name.rpartition(":")
    if source.endswith(".py"):
        return load_own(Path(source), class_name, device)
    precision: Precision = "fp16" if name.endswith(":fp16") else "fp32"
    plain = name.removesuffix(":fp16")
    if plain in DETECTORS:
        return DETECTORS[plain](device, precision)
    if not Path(plain).is_file():
        raise UserError(
            f"--detector: there is no {name!r}; choose from {', '.join(DETECTORS)}, each also with "
            ":fp16, name a file of weights of Inception or VGG16, or FILE.py:CLASS of your own"
        )
    advice = f"{INCEPTION_ADVICE}, or {VGG16_WEIGHTS.files[0].name} of torchvision"
    file = read_weights(Path(plain), advice)
    make = VGG16Detector if _is_vgg16(file) else InceptionDetector
    return make(file, device, precision)


def get_perceptual(device: torch.device) -> PerceptualDistance:
    """What path length is measured with, on `device`, ready to use.

    Raises `UserError` where the weights of VGG16 cannot be had.
    """
    return load_distance(device)


def _is_vgg16(file: WeightsFile) -> bool:
    """Whether it has VGG16's first convolution, with 64 outputs where Inception's has 32."""
    tensors = [tensor for tensor in file.tensors.values() if isinstance(tensor, torch.Tensor)]
    return any(tuple(tensor.shape) == (64, 3, 3, 3) for tensor in tensors)
