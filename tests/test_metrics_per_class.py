"""Scores within classes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from metrics_helpers import Fakes, Pixels, Reals, measured, normal, pictures

from dnnlib.errors import UserError
from metrics.families import COUNTED
from metrics.fid import fid
from metrics.images import fair_sample
from metrics.kid import kid
from metrics.names import parse_metric
from metrics.per_class import class_doubts, class_scores, mean_over_classes
from metrics.precision_recall import precision_recall
from metrics.sources import Sample

NAMES = ("cat", "dog", "wild")
FID, KID, PR = (family for family in COUNTED if family.prefix in {"fid", "kid", "pr"})


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))


def sample(count: int, seed: int, shifts: tuple[float, ...]) -> Sample:
    """Features of classes 0, 1, 2, 0, ..., each moved by its shift."""
    labels = torch.arange(count) % len(shifts)
    return Sample(normal(count, 8, seed) + torch.tensor(shifts)[labels][:, None], labels)


REAL, FAKE = sample(300, 0, (0, 10, 20)), sample(240, 1, (0, 13, 21))


def test_each_class_is_measured_by_itself_and_the_worst_stands_first() -> None:
    scores = class_scores("fid240", FID, REAL, FAKE, NAMES)
    assert [of.class_name for of in scores] == ["dog", "wild", "cat"]
    assert all((of.num_real, of.num_fake) == (100, 80) for of in scores)
    for of in scores:
        index = NAMES.index(of.class_name)
        expected = fid(REAL.features[index::3], FAKE.features[index::3])
        assert of.results == {"fid240": pytest.approx(expected, rel=1e-12)}


def test_where_higher_is_better_the_lowest_stands_first() -> None:
    scores = class_scores("pr2403", PR, REAL, FAKE, NAMES)
    precisions = [of.results["pr2403_precision"] for of in scores]
    assert precisions == sorted(precisions) and precisions[0] < precisions[-1]
    first = NAMES.index(scores[0].class_name)
    expected = precision_recall(REAL.features[first::3], FAKE.features[first::3])
    assert tuple(scores[0].results.values()) == pytest.approx(expected)


def test_a_class_without_enough_images_stands_last_and_is_told() -> None:
    kept = torch.cat([torch.arange(0, 240, 3), torch.tensor([1])])
    fake = Sample(FAKE.features[kept], FAKE.labels[kept])
    scores = class_scores("kid240", KID, REAL, fake, NAMES)
    assert scores[0].class_name == "cat"
    assert [of.num_fake for of in scores] == [80, 1, 0]
    assert all(math.isnan(of.results["kid240"]) for of in scores[1:])
    assert mean_over_classes(scores) == scores[0].results
    (doubt,) = class_doubts(KID, REAL, fake, NAMES)
    assert doubt.startswith("class cat: 80 images do not fill")
    assert doubt.endswith("(one of 3 such classes)")
    nobody = class_scores("kid240", KID, REAL, fake.first(1), NAMES)
    assert math.isnan(mean_over_classes(nobody)["kid240"])


def test_few_images_of_one_class_are_one_line() -> None:
    real, fake = sample(5, 0, (0, 1, 2)), sample(4, 1, (0, 1, 2))
    (doubt,) = class_doubts(PR, real, fake, NAMES)
    assert doubt == (
        "class cat: 2 real and 2 generated images are too few for a score (one of 3 such classes)"
    )
    many = sample(4000, 0, (0, 1)), sample(3000, 1, (0, 1))
    assert class_doubts(KID, *many, NAMES[:2]) == []


def labelled(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of three classes, the third of which is bright."""
    labels = torch.arange(count) % 3
    images = pictures(count, seed)
    images[labels == 2] = images[labels == 2] // 8 + 220
    return images, labels


def test_intra_metrics_are_means_over_classes() -> None:
    reals, (images, labels), detector = Reals(*labelled(300, 0), NAMES), labelled(240, 1), Pixels()
    records = measured(["intra_fid240_full", "intra_kid90"], reals, Fakes(images, labels), detector)
    full, some = records.records
    real, fake = detector(reals.images), detector(images)
    values = [fid(real[reals.labels == i], fake[labels == i]) for i in range(3)]
    # The order in which features are added up differs.
    assert full.results == {"intra_fid240_full": pytest.approx(sum(values) / 3, rel=1e-6)}
    assert sorted(of.class_name for of in full.classes) == sorted(NAMES)
    assert (full.num_real, full.num_fake) == (300, 240)
    order = fair_sample(300, 90)
    real, of_real = real[order], reals.labels[order]
    fake, of_fake = fake[:90], labels[:90]
    values = [kid(real[of_real == i], fake[of_fake == i]) for i in range(3)]
    assert some.results["intra_kid90"] == pytest.approx(sum(values) / 3, rel=1e-6)


def test_per_class_adds_to_the_metrics_that_have_it() -> None:
    reals, fakes = Reals(*labelled(300, 0), NAMES), Fakes(*labelled(240, 1))
    names = ["fid240_full", "pr2403_full"]
    plain = measured(names, reals, fakes, Pixels()).records
    with_classes = measured(names, reals, fakes, Pixels(), per_class=True).records
    for without, with_them in zip(plain, with_classes, strict=True):
        assert without.results == with_them.results
        assert without.classes == () and len(with_them.classes) == 3
        assert set(with_them.classes[0].results) == set(without.results)
    assert any(
        "class" in warning for warning in with_classes[0].warnings + with_classes[1].warnings
    )


def test_classes_are_needed_on_both_sides() -> None:
    images, labels = labelled(60, 0)
    both, plain, fakes = Reals(images, labels, NAMES), Reals(images), Fakes(images, labels)
    detector = Pixels()
    with pytest.raises(UserError, match="intra_fid50: the data has no classes"):
        measured(["intra_fid50"], plain, fakes, detector)
    with pytest.raises(UserError, match="intra_fid50: the images of --fakes have no classes"):
        measured(["intra_fid50"], both, Fakes(images), detector)
    with pytest.raises(UserError, match="--per-class: the data has no classes"):
        measured(["fid50"], plain, fakes, detector, per_class=True)
    assert detector.seen == 0
    assert not parse_metric("is50k").family.within_classes
