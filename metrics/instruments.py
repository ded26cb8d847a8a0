"""What turns images into numbers, by what a metric wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from metrics.detectors import (
    Detector,
    PerceptualDistance,
    get_detector,
    get_perceptual,
)
from metrics.families import Role
from metrics.names import Metric


@dataclass(frozen=True)
class Instruments:
    """None where no metric asks for it."""

    features: Detector | None = None
    neighbours: Detector | None = None
    """For questions about neighbours; published precision and recall have VGG16 here."""
    judge: Detector | None = None
    """A classifier of the data's classes: its features are the logits of each."""
    distance: PerceptualDistance | None = None

    def detector(self, role: Role) -> Detector:
        """What gives metrics of this role their features."""
        detectors = {"neighbours": self.neighbours, "judge": self.judge}
        found = detectors.get(role, self.features)
        assert found is not None, f"nothing for {role}"
        return found

    def of(self, role: Role) -> Detector | PerceptualDistance:
        """What metrics of this role ask."""
        if role != "paths":
            return self.detector(role)
        assert self.distance is not None, "nothing for paths"
        return self.distance


def load_instruments(
    metrics: Sequence[Metric],
    detector: str,
    pr_detector: str | None,
    judge: Detector | None,
    device: torch.device,
) -> Instruments:
    """The instruments that `metrics` ask for, on `device`.

    Detectors by name or file, see `get_detector`; `pr_detector` None: the detector. Raises
    `UserError` where there is no such detector, or weights cannot be had.
    """
    roles = {metric.family.role for metric in metrics}
    same = pr_detector in (None, detector)
    features = neighbours = None
    if roles & {"features", "classes"} or (same and "neighbours" in roles):
        features = get_detector(detector, device)
    if "neighbours" in roles:
        neighbours = features if same else get_detector(pr_detector or detector, device)
    distance = get_perceptual(device) if "paths" in roles else None
    return Instruments(features, neighbours, judge, distance)
