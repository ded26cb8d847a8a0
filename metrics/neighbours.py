"""Who is near whom among many points: screened in low precision, settled in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

from metrics.screening import (
    Points,
    Side,
    group_members,
    nearest_groups,
    tiles_of,
    touched_groups,
    unit,
)

# Below this many pairs screening takes longer than it saves.
_FEW_PAIRS = 2**22
# Share of pairs left to settle beyond which another screening is worth its time.
_MANY = 1 / 8
_SAMPLE = 64

# In what to screen: the next is tried where one has left too much to settle.
Screens = Sequence[torch.dtype]


def centred(points: Tensor, others: Tensor) -> tuple[Points, Points]:
    """`[N, F]` and `[M, F]`, any float dtype, moved so that `points` has its mean in the origin.

    Distances stay the same, but lose less to rounding there.
    """
    centre = points.mean(dim=0, dtype=torch.float64)
    first, second = ((rows - centre.to(rows.dtype)).float() for rows in (points, others))
    return Points(first), Points(second)


def kth_distances(points: Points, k: int, screens: Screens | None = None) -> Tensor:
    """Squared distance of each row to its k-th nearest other row, float64 `[N]`, N above `k`.

    `screens`: the dtypes to screen in; fit for the processor and the number of points by default.
    """
    assert len(points) > k
    near = _typical(points, k)  # scores of the nearest are small then, and so is their rounding
    tiles = tiles_of(points.squares)
    candidates = torch.ones(len(points), len(tiles), dtype=torch.bool)
    for dtype in _screens(len(points) ** 2) if screens is None else screens:
        candidates = nearest_groups(Side(points, dtype, near / 2), tiles, k + 1)
        if candidates.double().mean() <= _MANY:
            break
    best = torch.full((len(points), k + 1), -torch.inf, dtype=torch.float64)
    for rows, _, scores in _settled(points, tiles, points, tiles, candidates):
        best[rows] = torch.cat([best[rows], scores], dim=1).topk(k + 1, dim=1).values
    return (-2 * best[:, k]).clamp(min=0)


def inside_any(
    points: Points, others: Points, reach: Tensor, screens: Screens | None = None
) -> Tensor:
    """Whether each row of `points` lies in a ball around one of `others`: bool `[N]`.

    `reach`: the balls' squared radii, float64 `[M]`; their rims belong to them. `screens` as above.
    """
    inside = torch.zeros(len(points), dtype=torch.bool)
    for rows, _, held in _held(points, others, reach, inside, screens):
        inside[rows] |= held.any(dim=1)
    return inside


def balls_and_points(
    points: Points, others: Points, reach: Tensor, screens: Screens | None = None
) -> tuple[Tensor, Tensor]:
    """In how many balls around `points` each of `others` lies, and whether each ball holds any.

    int64 `[M]` and bool `[N]`; `reach` as in `inside_any`, `[N]`, and so `screens`.
    """
    counts = torch.zeros(len(others), dtype=torch.int64)
    any_inside = torch.zeros(len(points), dtype=torch.bool)
    for rows, balls, held in _held(others, points, reach, None, screens):
        counts[rows] += held.sum(dim=1)
        any_inside[balls] |= held.any(dim=0)
    return counts, any_inside


def _held(
    queries: Points, balls: Points, reach: Tensor, inside: Tensor | None, screens: Screens | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows `[n]` of queries, `[m]` of balls, and which of them lie in which, bool `[n, m]`.

    Pairs that are left out are not in each other, or belong to queries that screening alone finds
    in some ball. Those it marks in `inside`, if there is one.
    """
    rows, columns = tiles_of(queries.squares), tiles_of(-reach)  # in large balls is most
    candidates = torch.ones(len(queries), len(columns), dtype=torch.bool)
    for dtype in _screens(len(queries) * len(balls)) if screens is None else screens:
        sides = Side(queries, dtype), Side(balls, dtype, reach)
        candidates, sure = touched_groups(sides[0], rows, sides[1], columns, inside is not None)
        if inside is not None:
            inside[torch.cat([*rows])] = sure
        if candidates.double().mean() <= _MANY:
            break
    for some, group, scores in _settled(queries, rows, balls, columns, candidates):
        longest = queries.squares[some, None] + balls.squares[group]
        rounding = unit(torch.float64) * queries.rows.shape[1] * longest
        yield some, group, scores + reach[group] / 2 >= -rounding


def _settled(
    points: Points,
    rows: Sequence[Tensor],
    others: Points,
    columns: Sequence[Tensor],
    candidates: Tensor,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Some of `points` `[n]`, of `others` `[m]`, and minus half their squared distances `[n, m]`.

    float64, by groups of `others`, of all of `candidates` `[N, groups]`, which are in the order of
    `rows` and `columns`; without screening a group is a tile.
    """
    order = torch.cat([*rows])
    a_tile = candidates.shape[1] // len(columns)
    groups = zip(group_members(columns, a_tile), candidates.T.contiguous(), strict=True)
    for group, wanted in groups:
        some = order[wanted]
        if len(some) == 0 or len(group) == 0:
            continue
        left, right = (
            of.rows.index_select(0, which).double()
            for of, which in ((points, some), (others, group))
        )
        scores = (left @ right.T).sub_(points.squares[some, None] / 2)
        yield some, group, scores.sub_(others.squares[group] / 2)


def _typical(points: Points, k: int) -> float:
    """About the squared distance of a row to its k-th nearest other row."""
    some = torch.arange(0, len(points), max(len(points) // _SAMPLE, 1))
    inner = (points.rows[some] @ points.rows.T).double()
    squared = points.squares[some][:, None] + points.squares - 2 * inner
    return float(squared.kthvalue(k + 1, dim=1).values.median())


def _screens(num_pairs: int) -> Screens:
    if num_pairs <= _FEW_PAIRS:
        return ()
    return (torch.bfloat16, torch.float32) if _multiplies_bfloat16() else (torch.float32,)


@cache
def _multiplies_bfloat16() -> bool:
    """Whether the processor has matrix units for bfloat16; without, float32 is quicker."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
