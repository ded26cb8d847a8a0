"""Several metrics of the same images in one pass."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from metrics_helpers import (
    ALONE,
    Fakes,
    PixelClasses,
    Pixels,
    Reals,
    measured,
    pictures,
)
from torch import Tensor

from dnnlib.errors import RunError, UserError
from dnnlib.files import cache_dir
from dnnlib.logs import logger
from metrics.density_coverage import density_coverage
from metrics.fid import fid
from metrics.images import fair_sample
from metrics.inception_score import inception_score
from metrics.instruments import Instruments
from metrics.kid import kid
from metrics.names import parse_metrics
from metrics.precision_recall import precision_recall
from metrics.sources import Subject
from metrics.suite import measure


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """Messages of our logger's warnings, whoever has set logging up before."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def labelled(count: int, seed: int = 0, low: int = 0) -> tuple[Tensor, Tensor]:
    """Images of the classes 0, 1, 0, 1, ..."""
    return pictures(count, seed, low), torch.arange(count) % 2


def test_several_metrics_share_one_pass() -> None:
    reals, fakes, detector = Reals(pictures(300)), Fakes(pictures(500, 1, 50)), Pixels()
    names = ["fid200_full", "kid150", "pr1003_full", "dc1005"]
    records = measured(names, reals, fakes, detector).records
    assert detector.seen == 300 + 200
    real = detector(reals.images[fair_sample(300, 300)])
    fake = detector(fakes.images)
    precision, recall = precision_recall(real, fake[:100])
    density, coverage = density_coverage(real[:100], fake[:100])
    assert [record.metric for record in records] == names
    assert [record.results for record in records] == [
        {"fid200_full": fid(real, fake[:200])},
        {"kid150": kid(real[:150], fake[:150])},
        {"pr1003_full_precision": precision, "pr1003_full_recall": recall},
        {"dc1005_density": density, "dc1005_coverage": coverage},
    ]
    counts = [(record.num_real, record.num_fake) for record in records]
    assert counts == [(300, 200), (150, 150), (300, 100), (100, 100)]


def test_another_detector_for_neighbours_sees_the_images_once() -> None:
    features, neighbours = Pixels(), Pixels(name="others")
    done = measure(
        parse_metrics(["fid50", "pr503", "kid40", "dc305"]),
        Subject(Reals(pictures(60)), Fakes(pictures(60, 1))),
        Instruments(features, neighbours),
        ALONE,
    )
    assert [record.detector for record in done.records] == ["pixels", "others", "pixels", "others"]
    assert (features.seen, neighbours.seen) == (100, 100)


def test_without_full_only_as_many_real_images_are_seen() -> None:
    detector = Pixels()
    measured(["fid100", "kid120"], Reals(pictures(300)), Fakes(pictures(120)), detector)
    assert detector.seen == 120 + 120


def test_cached_features_are_used_and_depend_on_the_detector() -> None:
    sides = Reals(pictures(40)), Fakes(pictures(40, 1))
    first, second, other = Pixels(), Pixels(), Pixels(precision="fp16")
    for detector in (first, second, other):
        measured(["fid30"], *sides, detector)
    assert (first.seen, second.seen, other.seen) == (60, 30, 60)


def test_batch_size_changes_nothing() -> None:
    sides = Reals(pictures(100)), Fakes(pictures(100, 1))
    names = ["fid100_full", "kid50", "pr503"]
    small = measured(names, *sides, Pixels(), batch_size=7)
    large = measured(names, *sides, Pixels(digest="x"), batch_size=100)
    assert [r.results for r in small.records] == [r.results for r in large.records]


def test_records_say_where_they_come_from() -> None:
    reals = Reals(pictures(120), mirror=True, digest="d" * 64)
    (record,) = measured(["fid100_full"], reals, Fakes(pictures(100)), Pixels()).records
    assert (record.detector, record.detector_digest) == ("pixels", "ab" * 32)
    assert (record.resize, record.precision) == ("none", "fp32")
    assert (record.mirror, record.dataset_digest) == (True, "d" * 64)
    assert record.fakes == {"network_digest": "ef" * 32, "trunc": 1.0}
    assert record.versions["torch"] == torch.__version__
    assert record.versions.keys() == {"dudgan", "torch", "numpy"}
    assert record.seconds > 0 and record.warnings == () and record.classes == ()


@pytest.mark.parametrize(
    ("metric", "count", "part"),
    [
        ("fid11_full", 11, "11 images are fewer than the 12 features"),
        ("kid99", 99, "99 images do not fill a subset of 1000"),
        ("pr993", 99, "99 images are too few"),
    ],
)
def test_scores_not_to_be_trusted_come_with_one_warning(
    metric: str, count: int, part: str, warnings: list[str]
) -> None:
    sides = Reals(pictures(200)), Fakes(pictures(count))
    (record,) = measured([metric], *sides, Pixels()).records
    assert len(warnings) == 1 and warnings[0].startswith(f"{metric}: {part}")
    assert [f"{metric}: {warning}" for warning in record.warnings] == warnings


def test_enough_images_give_no_warning(warnings: list[str]) -> None:
    sides = Reals(pictures(1100)), Fakes(pictures(1000, 1))
    records = measured(["fid100", "kid1000", "pr1003", "dc1005"], *sides, Pixels()).records
    assert warnings == [] and all(record.warnings == () for record in records)


def test_a_collapsed_generator_is_told(warnings: list[str]) -> None:
    fakes = Fakes(pictures(1)[[0] * 150])
    (record,) = measured(["fid150"], Reals(pictures(200)), fakes, Pixels()).records
    assert record.warnings == ("all 150 generated images have the same features",)
    assert record.results["fid150"] > 0


def test_fewer_generated_images_than_asked_for(warnings: list[str]) -> None:
    (record,) = measured(
        ["fid50k_full"], Reals(pictures(200)), Fakes(pictures(150)), Pixels()
    ).records
    assert record.num_fake == 150
    assert record.warnings == ("there are only 150 generated images",)
    assert warnings == ["fid50k_full: there are only 150 generated images"]


@pytest.mark.parametrize(
    ("num_real", "num_fake", "kind"), [(3, 10, "real"), (10, 3, "generated"), (10, 0, "generated")]
)
def test_too_few_images_are_found_before_any_work(num_real: int, num_fake: int, kind: str) -> None:
    detector = Pixels()
    with pytest.raises(UserError, match=rf"pr1003_full takes at least 4 {kind} images, found \d"):
        measured(["pr1003_full"], Reals(pictures(num_real)), Fakes(pictures(num_fake)), detector)
    assert detector.seen == 0


def test_paths_are_not_in_images_alone() -> None:
    with pytest.raises(UserError, match="ppl2_wend follows paths through a generator"):
        measured(["ppl2_wend"], Reals(pictures(5)), Fakes(pictures(5)), Pixels())


class Broken(Pixels):
    """Fails, or gives features that are no numbers."""

    def __call__(self, images: Tensor) -> Tensor:
        if self.name == "failing":
            raise OSError("no more memory")
        return super().__call__(images) / 0


def test_a_metric_that_fails_leaves_the_others_alone() -> None:
    subject = Subject(Reals(pictures(40)), Fakes(pictures(40, 1)))
    names = ["pr303", "fid30", "dc305", "kid30"]
    for name, kind in (("failing", OSError), ("infinite", RunError)):
        broken = Broken(name=name, digest=name)
        done = measure(parse_metrics(names), subject, Instruments(Pixels(), broken), ALONE)
        assert [record.metric for record in done.records] == ["fid30", "kid30"]
        assert [metric for metric, _ in done.failures] == ["pr303", "dc305"]
        assert all(isinstance(error, kind) for _, error in done.failures)
        # Else the garbage collector ends them, whatever the interpreter is about.
        assert not [t.name for t in threading.enumerate() if t.name.startswith("ahead")]


def test_inception_score_is_of_generated_images_alone(warnings: list[str]) -> None:
    detector, fakes = PixelClasses(), Fakes(pictures(60, seed=1))
    (record,) = measured(["is50"], Reals(pictures(0)), fakes, detector).records
    assert detector.seen == 50
    assert not (cache_dir() / "features").exists()
    mean, deviation = inception_score(detector.probabilities(detector(fakes.images[:50])))
    assert 1 < mean < 12
    assert record.results == {"is50_mean": mean, "is50_std": deviation}
    assert (record.num_real, record.num_fake) == (0, 50)
    assert len(warnings) == 1 and "50 images in 10 parts" in warnings[0]
    both = measured(["fid50", "is50"], Reals(pictures(60)), fakes, detector).records
    assert both[1].results == record.results
    real = detector(pictures(60)[fair_sample(60, 50)])
    assert both[0].results == {"fid50": fid(real, detector(fakes.images[:50]))}


def test_inception_score_takes_a_detector_with_classes() -> None:
    with pytest.raises(UserError, match="about classes, which pixels does not tell"):
        measured(["is50"], Reals(pictures(60)), Fakes(pictures(60)), Pixels())


class FirstPixel(Pixels):
    """A judge that sees class 1 where the first pixel is bright."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits `[N, 2]`."""
        bright = super().__call__(images)[:, :1] - 0.5
        return torch.cat([-bright, bright], dim=1)


def bright_or_dark(count: int, seed: int, wrong: int) -> tuple[Tensor, Tensor]:
    """Images of two classes that `FirstPixel` tells apart, and labels of which `wrong` lie."""
    images, labels = labelled(count, seed)
    images[:, 0, 0, 0] = (labels * 255).byte()
    labels[:wrong] = 1 - labels[:wrong]
    return images, labels


def test_class_accuracy_stands_beside_that_of_real_images(warnings: list[str]) -> None:
    reals = Reals(*bright_or_dark(200, 0, wrong=30), ("dark", "bright"))
    fakes = Fakes(*bright_or_dark(100, 1, wrong=40))
    judge = FirstPixel(name="judge", num_features=2)
    (record,) = measured(["acc100"], reals, fakes, Pixels(), judge=judge).records
    known = (reals.labels == torch.arange(200) % 2)[fair_sample(200, 100)]
    assert record.results == {"acc100": 0.6, "acc100_real": known.double().mean().item()}
    assert record.detector == "judge"
    assert len(warnings) == 1 and "recognises only" in warnings[0]
    assert not (cache_dir() / "features").exists()  # judges come and go with snapshots


def test_order_of_images_does_not_change_scores_of_all() -> None:
    reals, fakes = Reals(pictures(80)), Fakes(pictures(80, 1))
    turned = Fakes(fakes.images.flip(0))
    names = ["fid80_full", "kid80_full", "pr803_full", "dc805_full"]
    ours = measured(names, reals, fakes, Pixels()).records
    theirs = measured(names, reals, turned, Pixels()).records
    for one, other in zip(ours, theirs, strict=True):
        assert one.results == pytest.approx(other.results, rel=1e-6, abs=1e-9)


def test_nothing_is_asked_for_and_nothing_done() -> None:
    detector = Pixels()
    assert measured([], Reals(pictures(20)), Fakes(pictures(20)), detector).records == []
    assert detector.seen == 0
