"""Several metrics of the same images, computed together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from dnnlib.errors import RunError
from dnnlib.logs import logger
from metrics.checks import check_instruments, check_metrics
from metrics.instruments import Instruments
from metrics.names import Metric
from metrics.path_length import RESIZE as PATH_RESIZE
from metrics.per_class import class_doubts, class_scores, mean_over_classes
from metrics.records import ClassScores, MetricRecord, package_versions
from metrics.samples import Samples
from metrics.sources import Sample, Subject
from torch_utils.world import World


@dataclass
class Measurement:
    """The scores that were had, and what went wrong with the others."""

    records: list[MetricRecord] = field(default_factory=list)
    failures: list[tuple[str, Exception]] = field(default_factory=list)
    """Metric and error."""


def measure(
    metrics: Sequence[Metric],
    subject: Subject,
    instruments: Instruments,
    world: World,
    batch_size: int = 64,
    per_class: bool = False,
) -> Measurement:
    """Scores of `subject`, a record for each of `metrics` in their order.

    Features are computed once for each instrument, for the metric that needs most; the others take
    the first of them. With several processes each computes its share, and rank 0 alone has the
    records: the same as those of one process. `per_class` gives values within each class as well.
    A metric that fails leaves the others alone. A score that is not to be trusted gives a warning.
    """
    check_metrics(metrics, subject, per_class)
    check_instruments(metrics, instruments)
    samples = Samples(metrics, subject, instruments, batch_size, world)
    done = Measurement()
    for metric in metrics:
        try:
            real, fake = samples.of(metric)
            if world.rank == 0:
                record = _score(metric, real, fake, subject, instruments, per_class)
                seconds = record.seconds + samples.seconds(metric)
                done.records.append(record.model_copy(update={"seconds": seconds}))
        except Exception as error:  # the caller decides what it means
            done.failures.append((metric.name, error))
    return done


def _score(
    metric: Metric,
    real: Sample,
    fake: Sample,
    subject: Subject,
    instruments: Instruments,
    per_class: bool,
) -> MetricRecord:
    """One metric of features of as many images as it takes, if there are."""
    started = time.monotonic()
    for side, sample in (("real", real), ("generated", fake)):
        if not bool(sample.features.isfinite().all()):
            raise RunError(f"{metric.name}: features of {side} images are not finite")
    classes: tuple[ClassScores, ...] = ()
    warnings = [] if metric.mean_over_classes else metric.family.doubts(real, fake)
    if metric.mean_over_classes or (per_class and metric.family.within_classes):
        names = subject.reals.class_names
        classes = class_scores(metric.name, metric.family, real, fake, names)
        warnings += class_doubts(metric.family, real, fake, names)
    if len(fake) < metric.count:
        warnings.append(f"there are only {len(fake)} generated images")
    for warning in warnings:
        logger.warning(f"{metric.name}: {warning}")
    if metric.mean_over_classes:
        results = mean_over_classes(classes)
    else:
        results = metric.family.results(metric.name, metric.family.compute(real, fake))
    instrument = instruments.of(metric.family.role)
    fakes = subject.fakes.description
    if metric.path is not None and subject.paths is not None:
        fakes = fakes | subject.paths.settings
    return MetricRecord(
        metric=metric.name,
        results=results,
        classes=classes,
        warnings=tuple(warnings),
        num_real=len(real),
        num_fake=len(fake),
        detector=instrument.name,
        detector_digest=instrument.digest,
        resize=instrument.resize if metric.path is None else PATH_RESIZE,
        precision=instrument.precision,
        dataset_digest=subject.reals.digest,
        mirror=subject.reals.mirror,
        fakes=fakes,
        versions=package_versions(),
        seconds=time.monotonic() - started,
    )
