"""Feature extractors by name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dnnlib.errors import UserError
from metrics.detectors.base import Detector
from metrics.detectors.efficientnet_lite0 import EfficientNetLite0Detector

__all__ = ["DEFAULT_DETECTOR", "DETECTORS", "Detector", "get_detector"]

DEFAULT_DETECTOR = EfficientNetLite0Detector.name  # its weights come with the installation

DETECTORS: dict[str, Callable[[torch.device], Detector]] = {
    EfficientNetLite0Detector.name: EfficientNetLite0Detector,
}


def get_detector(name: str, device: torch.device) -> Detector:
    """The detector that users call `name`, on `device`, ready to use.

    Raises `UserError` for a name that is not in `DETECTORS`.
    """
    if name not in DETECTORS:
        raise UserError(f"--detector: there is no {name!r}; choose from {', '.join(DETECTORS)}")
    return DETECTORS[name](device)
