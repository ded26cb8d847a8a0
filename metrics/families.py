"""What each metric computes, of which features, and how many images it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from metrics import density_coverage, inception_score, precision_recall
from metrics.class_accuracy import class_accuracy
from metrics.fid import fid
from metrics.kid import kid
from metrics.path_length import mean_without_outliers
from metrics.sources import Sample
from metrics.trust import (
    few_classes_seen,
    few_images,
    fewer_than_a_subset,
    fewer_than_features,
    weak_judge,
)

# Who gives a metric its features: the detector, the one for questions about neighbours (published
# scores ask VGG16 there), the detector's classes, a classifier of the data's classes, or a distance
# between images along paths.
Role = Literal["features", "neighbours", "classes", "judge", "paths"]


@dataclass(frozen=True)
class Family:
    """A metric for any number of images."""

    prefix: str
    suffix: str
    """What stands behind the count: the 3 of `pr50k3` is the neighbourhood, not a digit of it."""
    role: Role
    compute: Callable[[Sample, Sample], tuple[float, ...]]
    """Values of real and generated images; the first says which of two generators is better."""
    doubts: Callable[[Sample, Sample], list[str]]
    """Why the values of such samples are not to be trusted."""
    min_images: int
    parts: tuple[str, ...] = ("",)
    """What each of the values adds to the metric's name."""
    asides: tuple[str, ...] = ()
    """Likewise of values that follow, and tell nothing of how good a generator is."""
    lower_is_better: bool = False
    uses_reals: bool = True
    has_full: bool = True
    """Whether it may be taken against all real images."""
    within_classes: bool = True
    """Whether it means something within a class."""
    has_mean: bool = False
    """Whether its mean over classes is a metric, with `intra_` before the name."""

    def results(self, name: str, values: tuple[float, ...]) -> dict[str, float]:
        """Values by name, of a metric called `name`."""
        parts = self.parts + self.asides
        return {name + part: value for part, value in zip(parts, values, strict=True)}


def _fid(real: Sample, fake: Sample) -> tuple[float, ...]:
    return (fid(real.features, fake.features),)


def _kid(real: Sample, fake: Sample) -> tuple[float, ...]:
    return (kid(real.features, fake.features),)


def _precision_recall(real: Sample, fake: Sample) -> tuple[float, ...]:
    return precision_recall.precision_recall(real.features, fake.features)


def _density_coverage(real: Sample, fake: Sample) -> tuple[float, ...]:
    return density_coverage.density_coverage(real.features, fake.features)


def _inception_score(real: Sample, fake: Sample) -> tuple[float, ...]:
    return inception_score.inception_score(fake.features)


def _class_accuracy(real: Sample, fake: Sample) -> tuple[float, ...]:
    return tuple(class_accuracy(sample.features, sample.labels) for sample in (fake, real))


def _path_length(real: Sample, fake: Sample) -> tuple[float, ...]:
    return (mean_without_outliers(fake.features[:, 0]),)


COUNTED = (
    Family(
        prefix="fid",
        suffix="",
        role="features",
        compute=_fid,
        doubts=fewer_than_features,
        min_images=2,
        lower_is_better=True,
        has_mean=True,
    ),
    Family(
        prefix="kid",
        suffix="",
        role="features",
        compute=_kid,
        doubts=fewer_than_a_subset,
        min_images=2,
        lower_is_better=True,
        has_mean=True,
    ),
    Family(
        prefix="pr",
        suffix=f"{precision_recall.NEIGHBOURS}",
        role="neighbours",
        compute=_precision_recall,
        doubts=few_images,
        min_images=precision_recall.NEIGHBOURS + 1,
        parts=("_precision", "_recall"),
    ),
    Family(
        prefix="dc",
        suffix=f"{density_coverage.NEIGHBOURS}",
        role="neighbours",
        compute=_density_coverage,
        doubts=few_images,
        min_images=density_coverage.NEIGHBOURS + 1,
        parts=("_density", "_coverage"),
    ),
    Family(
        prefix="is",
        suffix="",
        role="classes",
        compute=_inception_score,
        doubts=few_classes_seen,
        min_images=inception_score.NUM_SPLITS,
        parts=("_mean",),
        asides=("_std",),
        uses_reals=False,
        has_full=False,
        within_classes=False,
    ),
    Family(
        prefix="acc",
        suffix="",
        role="judge",
        compute=_class_accuracy,
        doubts=weak_judge,
        min_images=1,
        asides=("_real",),
        has_full=False,
    ),
)

PATH_LENGTH = Family(
    prefix="ppl",
    suffix="",
    role="paths",
    compute=_path_length,
    doubts=few_images,
    min_images=2,
    lower_is_better=True,
    uses_reals=False,
    has_full=False,
    within_classes=False,
)
