"""Feature extractors by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from dnnlib.errors import UserError
from metrics.detectors.base import ClassDetector, Detector
from metrics.detectors.efficientnet_lite0 import EfficientNetLite0Detector
from metrics.detectors.inception import InceptionDetector

__all__ = ["DEFAULT_DETECTOR", "DETECTORS", "ClassDetector", "Detector", "get_detector"]

DEFAULT_DETECTOR = EfficientNetLite0Detector.name  # its weights come with the installation

DETECTORS: dict[str, Callable[[torch.device], Detector]] = {
    InceptionDetector.name: InceptionDetector,
    EfficientNetLite0Detector.name: EfficientNetLite0Detector,
}


def get_detector(name: str, device: torch.device) -> Detector:
    """The detector that users call `name`, on `device`, ready to use.

    `name` is in `DETECTORS`, or the path of a file of weights of Inception. Raises `UserError` for
    any other, and where the weights are missing or of another network.
    """
    if name in DETECTORS:
        return DETECTORS[name](device)
    if not Path(name).is_file():
        raise UserError(
            f"--detector: there is no {name!r}; choose from {', '.join(DETECTORS)}, or name a file "
            "of weights of Inception"
        )
    return InceptionDetector(device, Path(name))
