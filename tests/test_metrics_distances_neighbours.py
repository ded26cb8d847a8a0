"""Neighbours found in low precision are those that float64 finds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_helpers import normal
from torch import Tensor

from metrics import neighbours
from metrics.neighbours import Points, balls_and_points, centred, inside_any, kth_distances

PRECISIONS = [
    (torch.float64,),
    (torch.float32, torch.float64),
    (torch.bfloat16, torch.float32, torch.float64),
]


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared, float64 `[N, M]`, without cancellation."""
    return (x.double()[:, None] - y.double()).square().sum(dim=2)


def curved(count: int, seed: int) -> Tensor:
    """Points near a surface, far from the origin: like features of images."""
    generator = torch.Generator().manual_seed(9)
    onto = torch.randn(4, 40, generator=generator)
    return (normal(count, 4, seed) @ onto).relu() + 0.01 * normal(count, 40, seed + 100) + 5


CLOUDS = {
    "gaussian": (normal(200, 40), normal(150, 40, seed=1)),
    "curved": (curved(200, 0), curved(150, 1)),
    "copies": (normal(100, 40).repeat(2, 1), normal(100, 40)),
    "collapsed": (normal(200, 40), normal(150, 40, seed=1) * 1e-5 + 2),
    "constant": (normal(200, 40), torch.full((150, 40), 0.1)),
    "outlier": (torch.cat([normal(199, 40), torch.full((1, 40), 1e4)]), normal(150, 40, seed=1)),
}


@pytest.mark.parametrize("precisions", PRECISIONS, ids=str)
@pytest.mark.parametrize(("x", "y"), CLOUDS.values(), ids=CLOUDS)
def test_every_precision_has_the_answer_of_float64(
    x: Tensor, y: Tensor, precisions: tuple[torch.dtype, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", 70)
    monkeypatch.setattr(neighbours, "_GROUP", 4)
    real, fake = centred(x, y)
    for points in (real, fake):
        expected = distances(points.rows, points.rows).topk(4, dim=1, largest=False).values[:, 3]
        found = kth_distances(points, 3, precisions)
        # Differences of float32 numbers are rounded to float32.
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    reach = distances(real.rows, real.rows).topk(4, dim=1, largest=False).values[:, 3]
    inside = distances(real.rows, fake.rows) <= reach[:, None]
    assert torch.equal(inside_any(fake, real, reach, precisions), inside.any(0))
    counts, any_inside = balls_and_points(real, fake, reach)
    assert torch.equal(counts, inside.sum(0)) and torch.equal(any_inside, inside.any(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@given(seed=st.integers(0, 1000), width=st.integers(1, 300))
@settings(max_examples=15, deadline=None)
def test_scores_are_as_wrong_as_their_bound_allows(
    dtype: torch.dtype, scale: float, seed: int, width: int
) -> None:
    x, y = normal(20, width, seed) * scale, normal(30, width, seed + 1) * scale + scale
    reach = normal(30, 1, seed)[:, 0].double().abs() * scale
    left = neighbours._Side(Points(x), dtype)
    right = neighbours._Side(Points(y), dtype, reach)
    rows, columns = torch.arange(20), torch.arange(30)
    scores = (left.left(rows) @ right.right(columns).T).double()
    bound = left.error_bound(right, rows)[:, None] + neighbours._unit(dtype) * scores.abs()
    assert ((scores - (reach - distances(x, y)) / 2).abs() <= bound).all()


@given(
    seed=st.integers(0, 1000),
    width=st.integers(1, 60),
    count=st.integers(1, 8),
    distinct=st.integers(1, 10),
)
@settings(deadline=None)
def test_the_largest_of_groups_are_the_largest(
    seed: int, width: int, count: int, distinct: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(distinct, (3, width), generator=generator).float()
    count = min(count, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_GROUP", 4)
        for some in (scores, scores.T.contiguous().T):
            values, indices = neighbours._top(some, count, first=5)
            assert torch.equal(values, scores.topk(count, dim=1).values)
            assert torch.equal(scores.gather(1, indices - 5), values)
            assert all(len(set(row)) == count for row in indices.tolist())


def test_few_points_have_no_screening() -> None:
    assert list(neighbours._precisions(1000)) == [torch.float64]
    assert list(neighbours._precisions(10**9))[-2:] == [torch.float32, torch.float64]
