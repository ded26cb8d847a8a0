"""Neighbours found in low precision are those that float64 finds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_helpers import normal
from torch import Tensor

from metrics import neighbours, screening
from metrics.neighbours import balls_and_points, centred, inside_any, kth_distances
from metrics.screening import Points

SCREENS = [(), (torch.float32,), (torch.bfloat16,), (torch.bfloat16, torch.float32)]


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


def of_small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few points fill several, the last of them in part."""
    monkeypatch.setattr(screening, "TILE", 64)
    monkeypatch.setattr(screening, "GROUPS", 16)


@pytest.mark.parametrize("screens", SCREENS, ids=str)
@pytest.mark.parametrize(("x", "y"), CLOUDS.values(), ids=CLOUDS)
@pytest.mark.parametrize("most", [0, 1])
def test_every_screen_has_the_answer_of_float64(
    x: Tensor,
    y: Tensor,
    screens: tuple[torch.dtype, ...],
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_small_tiles(monkeypatch)
    monkeypatch.setattr(neighbours, "_MANY", most)
    real, fake = centred(x, y)
    for points in (real, fake):
        expected = distances(points.rows, points.rows).topk(4, dim=1, largest=False).values[:, 3]
        found = kth_distances(points, 3, screens)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    reach = distances(real.rows, real.rows).topk(4, dim=1, largest=False).values[:, 3]
    inside = distances(real.rows, fake.rows) <= reach[:, None]
    assert torch.equal(inside_any(fake, real, reach, screens), inside.any(0))
    counts, any_inside = balls_and_points(real, fake, reach, screens)
    assert torch.equal(counts, inside.sum(0)) and torch.equal(any_inside, inside.any(1))


@pytest.mark.parametrize("count", [1, 20, 63])
def test_more_neighbours_than_groups(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of_small_tiles(monkeypatch)
    points, _ = centred(normal(64, 5), normal(1, 5))
    expected = distances(points.rows, points.rows).sort(dim=1).values[:, count]
    found = kth_distances(points, count, [torch.bfloat16])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_screening_leaves_little_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is quick: of each row's groups about those of its neighbours, most rows decided.

    Also where all points are alike or the same, and where one far away spoils a tile's bounds.
    """
    of_small_tiles(monkeypatch)
    usual, alike = normal(640, 256), normal(640, 256, seed=1) * 1e-3
    outlier = torch.cat([usual[1:], torch.full((1, 256), 1e3)])
    for rows in (usual, alike, outlier, torch.zeros(640, 256)):
        points, _ = centred(rows, rows)
        tiles = screening.tiles_of(points.squares)
        near = neighbours._typical(points, 3)
        side = screening.Side(points, torch.bfloat16, near / 2)
        assert screening.nearest_groups(side, tiles, 4).sum(dim=1).median() <= 32
    points, queries = centred(usual, normal(640, 256, seed=2))
    reach = kth_distances(points, 3)
    sides = [screening.Side(queries, torch.bfloat16), screening.Side(points, torch.bfloat16, reach)]
    asked, balls = screening.tiles_of(queries.squares), screening.tiles_of(-reach)
    candidates, inside = screening.touched_groups(sides[0], asked, sides[1], balls, True)
    assert inside.any() and not candidates[inside].any()
    assert candidates.any(dim=1).double().mean() < 0.3 and candidates.double().mean() < 0.02


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@given(seed=st.integers(0, 1000), width=st.integers(1, 300))
@settings(max_examples=15, deadline=None)
def test_scores_are_as_wrong_as_their_bound_allows(
    dtype: torch.dtype, scale: float, seed: int, width: int
) -> None:
    x, y = normal(20, width, seed) * scale, normal(30, width, seed + 1) * scale + scale
    reach = normal(30, 1, seed)[:, 0].double().abs() * scale
    left = screening.Side(Points(x), dtype)
    right = screening.Side(Points(y), dtype, reach)
    rows, columns = torch.arange(20), torch.arange(30)
    scores = left.left(rows) @ right.right(columns).T
    bound = left.error_bound(rows, right, columns)[:, None]
    lower, upper = screening._limits(scores, bound)
    true = (reach - distances(x, y)) / 2
    assert (lower.double() <= true).all() and (true <= upper.double()).all()


@given(seed=st.integers(0, 1000), width=st.integers(1, 64), distinct=st.integers(1, 10))
@settings(deadline=None)
def test_groups_have_the_maxima_of_their_members(seed: int, width: int, distinct: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(distinct, (3, width), generator=generator).float()
    with pytest.MonkeyPatch.context() as patch:
        of_small_tiles(patch)
        members = screening.group_members([torch.arange(width)], 16)
        expected = [
            scores[:, group].amax(dim=1) if len(group) else torch.full((3,), -torch.inf)
            for group in members
        ]
        assert sorted(torch.cat(members).tolist()) == list(range(width))
        for some in (scores, scores.T.contiguous().T):
            found = screening._group_maxima(some)
            assert torch.equal(found, torch.stack(expected, dim=1))


def test_few_points_have_no_screening() -> None:
    assert list(neighbours._screens(1000)) == []
    assert list(neighbours._screens(10**9))[-1] == torch.float32
