"""What is asked for wrongly, found before any work is done."""

from __future__ import annotations

from collections.abc import Sequence

from dnnlib.errors import UserError
from metrics.detectors import ClassDetector
from metrics.detectors.base import CHANNELS
from metrics.detectors.perceptual import MIN_SIZE
from metrics.instruments import Instruments
from metrics.names import Metric
from metrics.path_length import compared_size
from metrics.sources import FakeSource, RealSource, Subject


def check_metrics(metrics: Sequence[Metric], subject: Subject, per_class: bool) -> None:
    """Raise `UserError` where one of `metrics` cannot be had of `subject`."""
    check_reals(metrics, subject.reals, per_class)
    for metric in metrics:
        if metric.path is not None:
            if subject.paths is None:
                raise UserError(
                    f"--metrics: {metric.name} follows paths through a generator, and --fakes "
                    "gives images alone; name the --network"
                )
        else:
            _check_fakes(metric, subject.fakes, per_class)


def check_reals(metrics: Sequence[Metric], reals: RealSource, per_class: bool = False) -> None:
    """Raise `UserError` where one of `metrics` cannot be had with these real images."""
    for metric in metrics:
        _require_shape(metric, reals.shape)
        if metric.family.uses_reals:
            _require(metric, metric.num_real(reals.num_images), "real")
        option = _needs_classes(metric, per_class)
        if option is not None and not reals.class_names:
            raise UserError(
                f"{option}: the data has no classes; give data with labels, or leave it out"
            )


def check_instruments(metrics: Sequence[Metric], instruments: Instruments) -> None:
    """Raise `UserError` where one of `metrics` is about classes that the detector does not tell."""
    for metric in metrics:
        role = metric.family.role
        if role == "classes" and not isinstance(instruments.detector(role), ClassDetector):
            raise UserError(
                f"--metrics: {metric.name} is about classes, which {instruments.of(role).name} "
                "does not tell; take it with --detector inception"
            )


def _check_fakes(metric: Metric, fakes: FakeSource, per_class: bool) -> None:
    if fakes.num_images is not None:
        _require(metric, min(metric.count, fakes.num_images), "generated")
    option = _needs_classes(metric, per_class)
    if option is not None and fakes.labels(()) is None:
        raise UserError(
            f"{option}: the images of --fakes have no classes; put them into folders named after "
            "the classes of the data"
        )


def _needs_classes(metric: Metric, per_class: bool) -> str | None:
    """The option because of which `metric` needs classes, if it does."""
    if metric.mean_over_classes or metric.family.role == "judge":
        return f"--metrics: {metric.name}"
    return "--per-class" if per_class and metric.family.within_classes else None


def _require_shape(metric: Metric, shape: tuple[int, int, int]) -> None:
    """Generated images have the shape of real ones: height, width, channels."""
    height, width, channels = shape
    # A judge has been trained on images of the data's own shape.
    if metric.family.role != "judge" and channels not in CHANNELS:
        raise UserError(
            f"--metrics: {metric.name} takes grey or RGB images, found {channels} channels; leave "
            "it out, or make a copy of the data with 1 or 3 channels"
        )
    if metric.path is not None:
        seen = compared_size(height, width, metric.path.crop)
        if min(seen) < MIN_SIZE:
            part = ", of which it sees the face" if metric.path.crop else ""
            raise UserError(
                f"--metrics: {metric.name} compares images of at least {MIN_SIZE} pixels a side, "
                f"found {width}x{height}{part}; leave it out"
            )


def _require(metric: Metric, found: int, kind: str) -> None:
    if found < metric.family.min_images:
        raise UserError(
            f"--metrics: {metric.name} takes at least {metric.family.min_images} {kind} images, "
            f"found {found}"
        )
