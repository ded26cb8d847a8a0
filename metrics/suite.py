"""Metrics by their published names, computed together from one set of features."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from dnnlib.errors import UserError
from dnnlib.logs import logger
from metrics.detectors import ClassDetector, Detector
from metrics.features import compute_features, real_features
from metrics.fid import fid
from metrics.images import FakeImages, RealImages
from metrics.inception_score import inception_score
from metrics.kid import kid
from metrics.precision_recall import precision_recall
from metrics.records import MetricRecord, package_versions

_NEIGHBOURS = 3  # the 3 of pr50k3
_IS_SPLITS = 10
_MAX_IMAGES = 10**7


@dataclass(frozen=True)
class Family:
    """A metric for any number of images."""

    prefix: str
    suffix: str
    """What stands behind the count: the 3 of `pr50k3` is the neighbourhood, not a digit of it."""
    compute: Callable[[torch.Tensor, torch.Tensor], dict[str, float]]
    """Values by suffix of the metric's name, of real and generated features (`of_classes`: of no
    real ones, and of the class probabilities of generated images)."""
    min_images: int
    lower_is_better: bool
    doubt: Callable[[int, int], str | None]
    """Why a score of so many images (of the smaller side) and features is not to be trusted."""
    of_classes: bool = False
    """Whether it is about the classes that a `ClassDetector` sees in generated images alone."""


def _compute_fid(real: torch.Tensor, fake: torch.Tensor) -> dict[str, float]:
    return {"": fid(real, fake)}


def _compute_kid(real: torch.Tensor, fake: torch.Tensor) -> dict[str, float]:
    return {"": kid(real, fake)}


def _compute_pr(real: torch.Tensor, fake: torch.Tensor) -> dict[str, float]:
    precision, recall = precision_recall(real, fake, _NEIGHBOURS)
    return {"_precision": precision, "_recall": recall}


def _compute_is(real: torch.Tensor, fake: torch.Tensor) -> dict[str, float]:
    mean, deviation = inception_score(fake, _IS_SPLITS)
    return {"_mean": mean, "_std": deviation}


def _doubt_singular(num_images: int, num_features: int) -> str | None:
    if num_images >= num_features:
        return None
    return (
        f"{num_images} images are fewer than the {num_features} features, so the score is far too "
        "high; compare it only with scores of as many images"
    )


def _doubt_few(num_images: int, num_features: int) -> str | None:
    return f"{num_images} images are too few for a steady score" if num_images < 100 else None


def _doubt_unseen_classes(num_images: int, num_features: int) -> str | None:
    if num_images >= 5000:
        return None
    return (
        f"{num_images} images in {_IS_SPLITS} parts cannot show all classes, so the score is too "
        "low; compare it only with scores of as many images"
    )


FAMILIES = (
    Family("fid", "", _compute_fid, 2, True, _doubt_singular),
    Family("kid", "", _compute_kid, 2, True, _doubt_few),
    Family("pr", f"{_NEIGHBOURS}", _compute_pr, _NEIGHBOURS + 1, False, _doubt_few),
    Family("is", "", _compute_is, _IS_SPLITS, False, _doubt_unseen_classes, of_classes=True),
)


@dataclass(frozen=True)
class Metric:
    """A metric as asked for: `fid50k_full` is FID of 50,000 generated and all real images."""

    family: Family
    count: int
    """Generated images, and without `_full` also the most real ones."""
    full: bool
    name: str
    """As the user spelled it: `fid1k` and `fid1000` are the same."""

    def num_real(self, available: int) -> int:
        """Real images taken of `available`."""
        if self.family.of_classes:
            return 0
        return available if self.full else min(self.count, available)


def parse_metric(name: str) -> Metric:
    """The metric called `name`: FAMILY, COUNT (`50k` or `500`), then `_full` for all real images.

    In `pr50k3` and `pr5003` the last digit is the neighbourhood, always 3, and COUNT what is before
    it: 50,000 and 500. Raises `UserError` for an unknown name or an impossible count.
    """
    for family in FAMILIES:
        full = "" if family.of_classes else "_full"
        match = re.fullmatch(
            rf"{family.prefix}([1-9][0-9]{{0,7}})(k?){family.suffix}({full})?", name
        )
        if match is None:
            continue
        count = int(match[1]) * (1000 if match[2] else 1)
        if not family.min_images <= count <= _MAX_IMAGES:
            raise UserError(f"--metrics: {name} takes {family.min_images} to {_MAX_IMAGES} images")
        return Metric(family, count, bool(match[3]), name)
    raise UserError(
        f"--metrics: there is no {name!r}; choose from fid50k_full, kid50k_full, pr50k3_full, each "
        "also with another number for 50k (pr5003_full: 500 images) and without _full, or is50k"
    )


def parse_metrics(names: Sequence[str]) -> list[Metric]:
    """`parse_metric` of each name, repeated names once. Raises `UserError` as it does."""
    return [parse_metric(name) for name in dict.fromkeys(names)]


def evaluate(
    metrics: Sequence[str],
    reals: RealImages,
    fakes: FakeImages,
    detector: Detector,
    batch_size: int = 64,
) -> list[MetricRecord]:
    """Scores of `fakes` against `reals`, a record for each of `metrics` in their order.

    Features are computed once, for the metric that needs most; the others take the first of them.
    A score that is not to be trusted gives a warning. Raises `UserError` for unknown names, for
    too few images on either side, and for a detector without the classes that a metric is about.
    """
    wanted = parse_metrics(metrics)
    if not wanted:
        return []
    started = time.monotonic()
    for metric in wanted:
        if metric.family.of_classes:
            _with_classes(metric, detector)
        else:
            _require(metric, metric.num_real(reals.num_images), "real")
    num_real = max(metric.num_real(reals.num_images) for metric in wanted)
    num_fake = max(metric.count for metric in wanted)
    real = (
        real_features(detector, reals, num_real, batch_size)
        if num_real > 0
        else torch.empty(0, detector.num_features)
    )
    fake = compute_features(
        detector, fakes.batches(num_fake, batch_size), num_fake, "features of generated images"
    )
    seconds = time.monotonic() - started
    return [_score(metric, real, fake, reals, fakes, detector, seconds) for metric in wanted]


def _score(
    metric: Metric,
    real: torch.Tensor,
    fake: torch.Tensor,
    reals: RealImages,
    fakes: FakeImages,
    detector: Detector,
    seconds: float,
) -> MetricRecord:
    """Compute one metric from features of at least as many images as it needs, if there are."""
    started = time.monotonic()
    real, fake = real[: metric.num_real(reals.num_images)], fake[: metric.count]
    _require(metric, len(fake), "generated")
    if len(fake) < metric.count:
        logger.warning(f"{metric.name}: there are only {len(fake)} generated images")
    num_images = len(fake) if metric.family.of_classes else min(len(real), len(fake))
    if doubt := metric.family.doubt(num_images, detector.num_features):
        logger.warning(f"{metric.name}: {doubt}")
    if metric.family.of_classes:
        fake = _with_classes(metric, detector).probabilities(fake)
    values = metric.family.compute(real, fake)
    return MetricRecord(
        metric=metric.name,
        results={metric.name + suffix: value for suffix, value in values.items()},
        num_real=len(real),
        num_fake=len(fake),
        detector=detector.name,
        detector_digest=detector.digest,
        resize=detector.resize,
        dataset_digest=reals.digest,
        mirror=reals.mirror,
        fakes=fakes.description,
        versions=package_versions(),
        seconds=seconds + time.monotonic() - started,
    )


def _with_classes(metric: Metric, detector: Detector) -> ClassDetector:
    """`detector`, which tells classes. Raises `UserError` where it does not."""
    if isinstance(detector, ClassDetector):
        return detector
    raise UserError(
        f"--metrics: {metric.name} is about classes, which {detector.name} does not tell; take it "
        "with calc_metrics.py --detector inception"
    )


def _require(metric: Metric, found: int, kind: str) -> None:
    if found < metric.family.min_images:
        raise UserError(
            f"--metrics: {metric.name} takes at least {metric.family.min_images} {kind} images, "
            f"found {found}"
        )
