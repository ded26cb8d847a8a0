"""Features of real and generated images: each once, by one process or several."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing, nullcontext

import torch
from torch import Tensor

from dnnlib.logs import Progress
from metrics.detectors import ClassDetector
from metrics.features import CacheEntry, cache_entry, compute_features
from metrics.images import fair_sample
from metrics.instruments import Instruments
from metrics.names import Metric
from metrics.path_length import PathConfig, path_lengths
from metrics.pipeline import ahead
from metrics.sharing import shared_rows
from metrics.sources import Sample, Subject
from torch_utils.distributed import agree, together
from torch_utils.tensor_cores import full_float32
from torch_utils.world import World


class Samples:
    """What several metrics ask of the same images.

    Every process asks for the same in the same order; rank 0 alone gets features.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        subject: Subject,
        instruments: Instruments,
        batch_size: int,
        world: World,
    ) -> None:
        self._subject, self._instruments = subject, instruments
        self._batch_size, self._world = batch_size, world
        self._num_real: dict[Hashable, int] = {}
        self._num_fake: dict[Hashable, int] = {}
        for metric in metrics:
            key = self._key(metric)
            needed = metric.num_real(subject.reals.num_images)
            self._num_real[key] = max(self._num_real.get(key, 0), needed)
            self._num_fake[key] = max(self._num_fake.get(key, 0), metric.count)
        self._made: dict[Hashable, Sample | Exception] = {}
        self._seconds: dict[Hashable, float] = {}

    def of(self, metric: Metric) -> tuple[Sample, Sample]:
        """Real and generated images as `metric` sees them, as many as it takes, if there are.

        Raises what went wrong with them, every time they are asked for.
        """
        key = self._key(metric)
        real = self._once(("real", key), lambda: self._real(metric))
        fake = self._once(("fake", key), lambda: self._fake(metric))
        real = real.first(metric.num_real(self._subject.reals.num_images))
        fake = fake.first(metric.count)
        if metric.family.role == "classes" and len(fake.features) > 0:
            detector = self._instruments.features
            assert isinstance(detector, ClassDetector)
            with full_float32():
                fake = Sample(detector.probabilities(fake.features), fake.labels)
        return real, fake

    def seconds(self, metric: Metric) -> float:
        """Time spent on the images of `metric`."""
        return sum(self._seconds.get((side, self._key(metric)), 0) for side in ("real", "fake"))

    def _key(self, metric: Metric) -> Hashable:
        """Metrics with the same key share their images' features."""
        instrument = self._instruments.of(metric.family.role)
        named = instrument.name, instrument.digest, instrument.resize, instrument.precision
        return named, metric.path

    def _once(self, key: Hashable, make: Callable[[], Sample]) -> Sample:
        if key not in self._made:
            started = time.monotonic()
            try:
                self._made[key] = make()
            except Exception as error:  # kept for the other metrics
                self._made[key] = error
            self._seconds[key] = time.monotonic() - started
        made = self._made[key]
        if isinstance(made, Exception):
            raise made
        return made

    def _real(self, metric: Metric) -> Sample:
        reals, count = self._subject.reals, self._num_real[self._key(metric)]
        if count == 0:
            return Sample(torch.empty(0, 0), torch.empty(0, dtype=torch.int64))
        indices = fair_sample(reals.num_images, count)
        detector = self._instruments.detector(metric.family.role)

        def compute(share: range) -> Tensor:
            batches = reals.batches([indices[i] for i in share], self._batch_size)
            with closing(ahead(batches)) as decoded:
                return compute_features(detector, decoded, len(share), "features of real images")

        def compute_together() -> Tensor:
            return shared_rows(compute, count, self._batch_size, self._world)

        if metric.family.role == "judge":  # there is another one at each snapshot of a run
            features = compute_together()
        else:
            entry = together(lambda: cache_entry(detector, reals, count), self._world)
            features = self._kept(entry, compute_together)
        return Sample(features, reals.labels[indices])

    def _kept(self, entry: CacheEntry, compute: Callable[[], Tensor]) -> Tensor:
        """What the first process finds in the cache, or what all compute and it keeps there."""
        first = self._world.rank == 0
        features = entry.load() if first else None
        if agree(features is not None, self._world):
            return torch.empty(0, entry.shape[1]) if features is None else features
        features = compute()
        if first:
            entry.save(features)
        return features

    def _fake(self, metric: Metric) -> Sample:
        fakes, count = self._subject.fakes, self._num_fake[self._key(metric)]
        if metric.path is not None:
            features = self._path_lengths(metric.path, count)
            return Sample(features, torch.zeros(len(features), dtype=torch.int64))
        if fakes.num_images is not None:
            count = min(count, fakes.num_images)
        detector = self._instruments.detector(metric.family.role)

        def compute(share: range) -> Tensor:
            batches = fakes.batches(share, self._batch_size)
            read = fakes.num_images is not None  # and not made
            with closing(ahead(batches)) if read else nullcontext(batches) as ready:
                return compute_features(detector, ready, len(share), "features of generated images")

        features = shared_rows(compute, count, self._batch_size, self._world)
        labels = fakes.labels(range(count))
        return Sample(features, torch.zeros(count, dtype=torch.int64) if labels is None else labels)

    def _path_lengths(self, config: PathConfig, count: int) -> Tensor:
        """Lengths `[count, 1]`."""
        generator, distance = self._subject.paths, self._instruments.distance
        assert generator is not None and distance is not None

        def compute(share: range) -> Tensor:
            parts = [torch.empty(0)]
            with Progress("path lengths", len(share), "paths") as bar:
                for first in range(share.start, share.stop, self._batch_size):
                    indices = range(first, min(first + self._batch_size, share.stop))
                    parts.append(path_lengths(generator, distance, config, indices))
                    bar.update(len(indices))
            return torch.cat(parts)[:, None]

        return shared_rows(compute, count, self._batch_size, self._world)
