"""What any metric must do with sets that one can reason about."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_helpers import normal
from torch import Tensor

from metrics.density_coverage import density_coverage
from metrics.fid import fid
from metrics.inception_score import inception_score
from metrics.kid import kid
from metrics.precision_recall import precision_recall
from metrics.sources import Sample
from metrics.trust import (
    few_classes_seen,
    few_images,
    fewer_than_a_subset,
    fewer_than_features,
    weak_judge,
)

UNHURRIED = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 10_000)
counts = st.integers(8, 60)
widths = st.integers(1, 30)


def features(count: int, width: int, seed: int) -> Tensor:
    """Like those of images: 0 or more, correlated, many zeros."""
    onto = torch.randn(width, width, generator=torch.Generator().manual_seed(width))
    return (normal(count, width, seed) @ onto).relu()


def all_of(real: Tensor, fake: Tensor) -> list[float]:
    """FID, KID, precision, recall, density, coverage."""
    shares = [*precision_recall(real, fake), *density_coverage(real, fake)]
    return [fid(real, fake), kid(real, fake, num_subsets=5), *shares]


@UNHURRIED
@given(counts, widths, seeds)
def test_identical_sets_are_perfect(count: int, width: int, seed: int) -> None:
    x = features(count, width, seed)
    scale = 1 + float(x.square().sum(dim=1).mean())
    distance, mmd, precision, recall, density, coverage = all_of(x, x.clone())
    assert distance <= 1e-6 * scale
    assert mmd <= 1e-9  # of unbiased estimates identical sets have the lowest
    assert (precision, recall, coverage) == (1, 1, 1)
    assert density >= 1


@UNHURRIED
@given(counts, counts, widths, seeds)
def test_order_does_not_matter(n: int, m: int, width: int, seed: int) -> None:
    real, fake = features(n, width, seed), features(m, width, seed + 1)
    order = torch.Generator().manual_seed(seed)
    turned = real[torch.randperm(n, generator=order)], fake[torch.randperm(m, generator=order)]
    ours, theirs = all_of(real, fake), all_of(*turned)
    # KID draws subsets by place where the sides differ in size.
    del ours[1], theirs[1]
    assert theirs == pytest.approx(ours, rel=1e-6, abs=1e-6)


@UNHURRIED
@given(counts, widths, seeds, st.integers(1, 4))
def test_a_dropped_mode_costs_recall_and_not_precision(
    count: int, width: int, seed: int, dropped: int
) -> None:
    """Four modes far apart, of which the generator has left out one to four, with copies for it."""
    centres = 1e3 * torch.arange(4)
    modes = [features(count, width, seed + i) + centre for i, centre in enumerate(centres)]
    real = torch.cat(modes)
    fake = torch.cat(modes[dropped:] or [modes[0] - 1e4])
    precision, recall = precision_recall(real, fake)
    _, coverage = density_coverage(real, fake)
    assert precision == (1 if dropped < 4 else 0)
    assert recall == coverage == 1 - dropped / 4
    assert fid(real, fake) > 1e4


@UNHURRIED
@given(counts, widths, seeds)
def test_constant_images_are_the_worst_and_no_error(count: int, width: int, seed: int) -> None:
    real, constant = features(count, width, seed) + 1, torch.full((count, width), -5.0)
    values = all_of(real, constant)
    assert all(map(math.isfinite, values))
    assert values[0] >= 36  # of means at least 6 apart
    assert values[2:] == [0, 0, 0, 0]
    assert all_of(constant, constant)[:4] == [0, 0, 1, 1]


@UNHURRIED
@given(st.integers(2, 10), st.integers(11, 40), seeds)
def test_fewer_images_than_features(count: int, width: int, seed: int) -> None:
    """Tr (AB)^½ is then the nuclear norm of a small matrix; and the score is told to be high."""
    real, fake = normal(count, width, seed).double(), normal(count, width, seed + 1).double()
    x, y = real - real.mean(0), fake - fake.mean(0)
    trace = torch.linalg.matrix_norm(x @ y.T / count, ord="nuc")
    expected = (real.mean(0) - fake.mean(0)).square().sum() - 2 * trace
    expected += (x.square().sum() + y.square().sum()) / count
    assert fid(real, fake) == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)
    doubts = fewer_than_features(sample(real.float()), sample(fake.float()))
    assert len(doubts) == 1 and "far too high" in doubts[0]


@UNHURRIED
@given(st.integers(2, 60), st.integers(2, 60), st.integers(2, 60), seeds)
def test_kid_subsets_are_never_larger_than_a_side(n: int, m: int, size: int, seed: int) -> None:
    real, fake = normal(n, 4, seed), normal(m, 4, seed + 1)
    value = kid(real, fake, num_subsets=3, max_subset_size=size)
    assert math.isfinite(value)
    assert value == kid(real, fake, num_subsets=3, max_subset_size=size)


@UNHURRIED
@given(st.integers(10, 200), st.integers(2, 20), seeds)
def test_inception_score_lies_between_one_and_the_classes(
    count: int, num_classes: int, seed: int
) -> None:
    mean, deviation = inception_score(normal(count, num_classes, seed).softmax(dim=1))
    assert 1 <= mean <= num_classes and deviation >= 0


def sample(values: Tensor, labels: Tensor | None = None) -> Sample:
    """Images with these features."""
    return Sample(values, torch.zeros(len(values), dtype=torch.int64) if labels is None else labels)


def test_there_is_no_doubt_about_enough_images() -> None:
    real, fake = sample(normal(5000, 20)), sample(normal(5000, 20, seed=1))
    for doubts in (fewer_than_features, fewer_than_a_subset, few_images, few_classes_seen):
        assert doubts(real, fake) == []


def test_every_doubt_is_a_line_that_says_why() -> None:
    few, many = sample(normal(50, 60)), sample(normal(2000, 60))
    same = sample(torch.ones(2000, 60))
    none = sample(torch.empty(0, 0))
    logits, labels = torch.eye(4).repeat(50, 1), torch.arange(4).repeat(50)
    right, wrong = sample(logits, labels), sample(logits, labels.roll(1))
    for doubts, part in (
        (fewer_than_features(few, many), "50 images are fewer than the 60 features"),
        (fewer_than_a_subset(many, few), "50 images do not fill a subset of 1000"),
        (few_images(many, few), "50 images are too few"),
        (few_images(none, few), "50 images are too few"),
        (few_classes_seen(none, many), "2000 images in 10 parts"),
        (fewer_than_features(many, same), "all 2000 generated images have the same features"),
        (fewer_than_a_subset(same, many), "all 2000 real images have the same features"),
        (weak_judge(wrong, right), "recognises only 0.0% of the real images"),
    ):
        assert len(doubts) == 1 and part in doubts[0] and "\n" not in doubts[0]
    assert weak_judge(right, wrong) == []
