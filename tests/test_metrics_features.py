"""Features of as many pictures as asked for, of a sample that is fair."""

import pytest
import torch
from detector_helpers import noise
from metrics_helpers import Pixels

from metrics.features import compute_features
from metrics.images import fair_sample
from torch_utils.tensor_cores import allow_tf32, full_float32


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


class Float32(Pixels):
    """A detector that asserts that nothing is rounded to TF32."""

    def __call__(self, images):
        assert tf32() == (False, False)
        return super().__call__(images)


def tf32():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_no_tf32_in_a_detector_and_all_as_before_outside():
    before = tf32()
    try:
        for allowed in ((True, True), (False, True), (False, False)):
            allow_tf32(*allowed)

            def batches(allowed=allowed):
                assert tf32() == allowed  # images are made in what was asked for
                yield noise(4, 3, 2, 2)

            compute_features(Float32(), batches(), 4, "test")
            assert tf32() == allowed
            with pytest.raises(ZeroDivisionError), full_float32():
                raise ZeroDivisionError
            assert tf32() == allowed
    finally:
        allow_tf32(*before)


def test_fair_sample_is_nested_and_mixes_a_sorted_set():
    assert sorted(fair_sample(1000, 1000)) == list(range(1000))
    assert fair_sample(1000, 100) == fair_sample(1000, 1000)[:100]
    assert 300 < sum(fair_sample(1000, 100)) / 100 < 700
