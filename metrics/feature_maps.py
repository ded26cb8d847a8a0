"""Feature maps of detectors, with gradients: how different two pictures look, place by place.

Maps of several depths, each pixel's features scaled to unit length, as Zhang et al. compare them
(arXiv 1801.03924, eq. 1, all channels with the same weight).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from dnnlib.errors import UserError
from metrics.detectors import get_detector
from metrics.detectors.base import as_rgb
from metrics.detectors.efficientnet_lite0 import EfficientNetLite0, InvertedResidual
from metrics.detectors.inception_network import Inception
from metrics.detectors.network import NetworkDetector
from metrics.detectors.vgg16 import VGG16

_EPSILON = 1e-10


def feature_maps(name: str, device: torch.device) -> Callable[[Tensor], list[Tensor]]:
    """The function that gives the maps of the detector that users call `name`.

    It takes pictures float `[N, C, H, W]`, C 1 or 3, in 0..255 and on `device`, brings them to the
    detector's input size, and returns float32 `[N, C', H', W']` for each depth. Their squared
    distances are means over the pixels of a map; gradients flow to the pictures. Raises `UserError`
    for a detector that does not exist, has no maps, or whose weights are missing.
    """
    detector = get_detector(name, device)
    if not isinstance(detector, NetworkDetector) or detector.precision != "fp32":
        raise UserError(
            f"--detector {name}: gives no feature maps with gradients; use efficientnet-lite0, "
            "vgg16, inception or a file of weights of the last two, without :fp16"
        )

    def maps(pixels: Tensor) -> list[Tensor]:
        x = detector.prepare(as_rgb(pixels))
        x = x.contiguous(memory_format=torch.channels_last)
        return [_comparable(each) for each in _maps(detector, x)]

    return maps


def _maps(detector: NetworkDetector, x: Tensor) -> Iterable[Tensor]:
    network = detector.network
    if isinstance(network, EfficientNetLite0):
        return _before_shrinking(network, x)
    assert isinstance(network, VGG16 | Inception)
    return network.maps(x)


def _before_shrinking(network: EfficientNetLite0, x: Tensor) -> Iterator[Tensor]:
    """The last map of each size: 16, 24, 40, 112 and 320 channels."""
    h = F.relu6(network.stem(x))
    for index, block in enumerate(network.blocks):
        assert isinstance(block, InvertedResidual)
        if index > 0 and block.depthwise.stride[0] > 1:
            yield h
        h = block(h)
    yield h


def _comparable(features: Tensor) -> Tensor:
    height, width = features.shape[2:]
    return F.normalize(features, dim=1, eps=_EPSILON) / math.sqrt(height * width)
