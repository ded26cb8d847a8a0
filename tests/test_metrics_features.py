"""Features of as many pictures as asked for, of a sample that is fair."""

import pytest
import torch
from detector_helpers import noise
from metrics_helpers import Pixels

from metrics.features import compute_features
from metrics.images import fair_sample


def test_features_of_the_first_total_pictures():
    images = noise(10, 3, 2, 2)
    for batch_size in (1, 4, 10):
        features = compute_features(Pixels(), images.split(batch_size), 7, "test")
        assert torch.equal(features, images[:7].flatten(1).float() / 255)


def test_features_where_pictures_run_out():
    assert compute_features(Pixels(), noise(5, 3, 2, 2).split(2), 7, "test").shape == (5, 12)
    assert compute_features(Pixels(), [], 7, "test").shape == (0, 12)


def test_no_more_batches_are_made_than_needed():
    def batches():
        yield noise(4, 3, 2, 2)
        pytest.fail("a batch too many")

    compute_features(Pixels(), batches(), 4, "test")


def test_fair_sample_is_nested_and_mixes_a_sorted_set():
    assert sorted(fair_sample(1000, 1000)) == list(range(1000))
    assert fair_sample(1000, 100) == fair_sample(1000, 1000)[:100]
    assert 300 < sum(fair_sample(1000, 100)) / 100 < 700
