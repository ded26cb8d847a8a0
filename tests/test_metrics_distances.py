"""The formulas: FID, KID, precision and recall, density and coverage, Inception Score."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from metrics_helpers import normal

from metrics.class_accuracy import class_accuracy
from metrics.density_coverage import density_coverage
from metrics.fid import fid, mean_and_covariance
from metrics.inception_score import inception_score
from metrics.kid import cubic_kernel, kid, squared_mmd
from metrics.precision_recall import precision_recall

VECTORS = Path(__file__).parent / "data" / "metrics.npz"


@pytest.fixture(scope="module")
def reference():
    with np.load(VECTORS) as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in ("real", "fake", "probs")}
        return tensors, json.loads(str(arrays["meta"]))


def test_reference_fid(reference):
    tensors, expected = reference
    assert fid(tensors["real"], tensors["fake"]) == pytest.approx(expected["fid"], rel=1e-10)


def test_reference_kid(reference):
    tensors, expected = reference
    value = squared_mmd(tensors["real"][:500], tensors["fake"][:500])
    assert value == pytest.approx(expected["kid_all_rows_first_500"], rel=1e-6)


def test_reference_precision_recall(reference):
    tensors, expected = reference
    values = precision_recall(tensors["real"], tensors["fake"], k=3)
    assert values == pytest.approx((expected["precision_k3"], expected["recall_k3"]), abs=1e-12)


def test_reference_inception_score(reference):
    tensors, expected = reference
    values = inception_score(tensors["probs"])
    wanted = (expected["is_mean_10_splits"], expected["is_std_10_splits"])
    assert values == pytest.approx(wanted, rel=1e-10)


def test_fid_matches_matrix_square_root():
    mixing = normal(8, 8, seed=9)
    real, fake = normal(300) @ mixing, normal(200, seed=1) * 2 + 1
    a, b = (np.cov(x.double().numpy().T, bias=True) for x in (real, fake))
    shift = (real.double().mean(0) - fake.double().mean(0)).square().sum().item()
    expected = shift + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert fid(real, fake) == pytest.approx(expected, rel=1e-8)


def test_fid_of_fewer_images_than_features_matches_nuclear_norm():
    """Tr (AB)^½ is the nuclear norm of X Yᵀ / sqrt(N M), X and Y centred: no square root of A."""
    real, fake = normal(20, 64).double(), normal(30, 64, seed=1).double() + 0.5
    x, y = real - real.mean(0), fake - fake.mean(0)
    trace = torch.linalg.matrix_norm(x @ y.T / 600**0.5, ord="nuc")
    expected = (real.mean(0) - fake.mean(0)).square().sum() - 2 * trace
    expected += x.square().sum() / 20 + y.square().sum() / 30
    assert fid(real, fake) == pytest.approx(expected.item(), rel=1e-6)


def test_fid_of_dependent_features_matches_nuclear_norm():
    """One twice another, one constant: these covariances have no Cholesky factor."""
    real, fake = (
        torch.cat([x, 2 * x[:, :1], torch.ones(len(x), 1)], dim=1).double()
        for x in (normal(60), normal(50, seed=1) * 0.5 + 1)
    )
    x, y = real - real.mean(0), fake - fake.mean(0)
    trace = torch.linalg.matrix_norm(x @ y.T / 3000**0.5, ord="nuc")
    expected = (real.mean(0) - fake.mean(0)).square().sum() - 2 * trace
    expected += x.square().sum() / 60 + y.square().sum() / 50
    assert fid(real, fake) == pytest.approx(expected.item(), rel=1e-6)
    assert fid(fake, real) == pytest.approx(fid(real, fake), rel=1e-9)


def test_fid_of_shift_and_scale():
    x = normal(500).double()
    variance = x.var(0, correction=0).sum().item()
    assert fid(x, x + 3) == pytest.approx(8 * 9, rel=1e-9)
    centred = x - x.mean(0)
    assert fid(centred, centred * 3) == pytest.approx(4 * variance, rel=1e-9)


def test_fid_accumulates_in_parts():
    x, y = normal(9000, 4), normal(9000, 4, seed=1)
    covariance = np.cov(x.double().numpy().T, bias=True)
    assert fid(x, x) == pytest.approx(0, abs=1e-6)
    assert fid(x, y * 0) == pytest.approx(
        np.trace(covariance) + x.double().mean(0).square().sum().item(), rel=1e-9
    )


def test_identical_sets():
    x = normal(300, 32)
    assert fid(x, x.clone()) == pytest.approx(0, abs=1e-5)
    assert precision_recall(x, x.clone()) == (1, 1)


def test_order_of_rows_does_not_matter():
    real, fake = normal(200), normal(150, seed=1) + 0.3
    shuffled = real[torch.randperm(200)], fake[torch.randperm(150)]
    assert fid(*shuffled) == pytest.approx(fid(real, fake), rel=1e-9)
    assert precision_recall(*shuffled) == precision_recall(real, fake)
    whole = squared_mmd(real[:150], fake)
    assert squared_mmd(real[:150].flip(0), fake.flip(0)) == pytest.approx(whole, rel=1e-5)


def test_fid_and_kid_are_symmetric_and_precision_swaps_with_recall():
    real, fake = normal(200), normal(200, seed=1) * 0.5
    assert fid(real, fake) == pytest.approx(fid(fake, real), rel=1e-9)
    assert squared_mmd(real, fake) == pytest.approx(squared_mmd(fake, real), rel=1e-9)
    assert precision_recall(real, fake) == precision_recall(fake, real)[::-1]


def test_kid_is_unbiased():
    """Over many draws of one distribution it averages to zero; the biased estimate does not."""
    pairs = [(normal(20, 4, seed=s), normal(20, 4, seed=1000 + s)) for s in range(300)]
    unbiased = torch.tensor([squared_mmd(x, y) for x, y in pairs])
    biased = torch.stack(
        [
            (cubic_kernel(x, x) + cubic_kernel(y, y) - 2 * cubic_kernel(x, y)).mean()
            for x, y in pairs
        ]
    )
    error = unbiased.std() / 300**0.5
    assert unbiased.mean().abs() < 3 * error
    assert biased.mean() > 6 * error


def test_kid_subsets_estimate_the_whole_and_repeat():
    real, fake = normal(600), normal(500, seed=1) + 0.5
    value = kid(real, fake, num_subsets=50, max_subset_size=100)
    assert value == kid(real, fake, num_subsets=50, max_subset_size=100)
    assert value != kid(real, fake, num_subsets=50, max_subset_size=100, seed=1)
    assert value == pytest.approx(squared_mmd(real[:500], fake), rel=0.1)


def test_kid_of_equal_counts_below_the_subset_size_takes_all():
    real, fake = normal(60), normal(60, seed=1) + 1
    assert kid(real, fake) == squared_mmd(real, fake)


def test_dropped_mode_lowers_recall_and_not_precision():
    centres = 10 * torch.eye(4, 8)
    real = torch.cat([normal(100, seed=i) + centre for i, centre in enumerate(centres)])
    fake = torch.cat([normal(100, seed=10 + i) + centre for i, centre in enumerate(centres)])
    precision, recall = precision_recall(real, fake)
    dropped_precision, dropped_recall = precision_recall(real, fake[:300])
    assert dropped_precision == pytest.approx(precision, abs=0.05)
    assert recall > 0.6
    assert dropped_recall == pytest.approx(0.75 * recall, abs=0.05)


def test_spurious_mode_lowers_precision_and_not_recall():
    real, fake = normal(200), normal(200, seed=1)
    _, recall = precision_recall(real, fake)
    precision, same_recall = precision_recall(real, torch.cat([fake, fake + 50]))
    assert precision < 0.5
    assert same_recall == recall


def test_far_from_the_origin_nothing_changes():
    """Distances by inner products would cancel there."""
    real, fake = normal(100).double(), normal(100, seed=1).double()
    assert precision_recall(real + 1e5, fake + 1e5) == precision_recall(real, fake)
    assert fid(real + 1e5, fake + 1e5) == pytest.approx(fid(real, fake), rel=1e-6)


def test_constant_features_give_numbers():
    """A collapsed generator: worst values, no NaN."""
    real, constant = normal(50), torch.full((50, 8), 2.5)
    assert fid(real, constant) > 1
    assert kid(real, constant) > 0
    assert precision_recall(real, constant)[1] == 0
    assert (fid(constant, constant), kid(constant, constant)) == (0, 0)
    assert precision_recall(constant, constant) == (1, 1)


@pytest.mark.parametrize("features", [1, 3, 4, 9])
def test_covariance_is_whole_whatever_its_blocks(features):
    x = normal(50, features)
    mean, covariance = mean_and_covariance(x)
    np.testing.assert_allclose(mean, x.double().mean(0), rtol=1e-12)
    expected = np.cov(x.double().numpy().T, bias=True).reshape(features, features)
    np.testing.assert_allclose(covariance, expected, rtol=1e-10, atol=1e-14)


def test_density_and_coverage_by_hand():
    """Points 0, 1, 2, 10 on a line with k = 1 have the radii 1, 1, 1, 8."""
    real = torch.tensor([[0.0], [1], [2], [10]])
    fake = torch.tensor([[0.5], [3], [30], [2]])
    # 0.5: balls of 0 and 1. 3: of 2 and 10. 30: none. 2: of 1, 2 and 10, on their rims.
    density, coverage = density_coverage(real, fake, k=1)
    assert (density, coverage) == ((2 + 2 + 0 + 3) / 4, 1)
    assert density_coverage(real, fake[2:3], k=1) == (0, 0)
    assert density_coverage(real, fake[:1], k=1) == (2, 0.5)


def test_density_and_coverage_of_equal_distributions():
    """Naeem et al., section 3.3: density 1, and coverage 1 - 2^-k for large sets."""
    real, fake = normal(1500, 4), normal(1500, 4, seed=1)
    density, coverage = density_coverage(real, fake)
    assert density == pytest.approx(1, abs=0.06)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.015)


def test_outliers_cannot_raise_coverage():
    """Where a few far images make recall high, coverage does not move."""
    real, far = normal(200), torch.full((1, 8), 50.0)
    fake = torch.cat([normal(198, seed=1) * 0.1, far, -far])
    assert precision_recall(real, fake)[1] > precision_recall(real, fake[:-2])[1] + 0.6
    assert density_coverage(real, fake)[1] == density_coverage(real, fake[:-2])[1]


def test_class_accuracy():
    logits = torch.tensor([[0.0, 2, 1], [3, 2, 1], [0, 0, 1], [9, 8, 7]])
    assert class_accuracy(logits, torch.tensor([1, 0, 2, 2])) == 0.75


@pytest.mark.parametrize("num_classes", [2, 10])
def test_inception_score_bounds(num_classes):
    certain = torch.eye(num_classes).repeat(20, 1)
    assert inception_score(certain, 2) == pytest.approx((num_classes, 0))
    assert inception_score(torch.full_like(certain, 1 / num_classes)) == pytest.approx((1, 0))


def test_inception_score_of_uneven_splits():
    probabilities = torch.softmax(normal(23), dim=1)
    mean, deviation = inception_score(probabilities)
    assert 1 < mean < 8
    assert deviation > 0
