"""Which points may be near which others, by matrix products in low precision.

½(r² − ‖a − b‖²) = a·b − ½‖a‖² − ½(‖b‖² − r²), a score, is one product of a row of a and a row of b,
each with a few more columns. A processor multiplies small numbers many times faster than float64,
and the error of such a product has a bound (Cauchy and Schwarz for what rounding the rows takes
away; Higham, Accuracy and Stability of Numerical Algorithms, section 3.1, for the sums). So of a
group of points only the best score is kept, and groups whose best cannot matter are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Rows multiplied at once: their scores stay in the processor's cache.
TILE = 1024
# Groups of which a tile consists, a power of two; members of a group are this far apart.
GROUPS = 32
_TERMS = 3  # of which a float32 consists in bfloat16
_ALIGNMENT = 32  # columns that are multiplied together
# Rows of a tile are followed no further once this share of them has been decided.
_WORTH_DROPPING = 1 / 8


class Points:
    """Rows `[N, F]`, float32, and what is asked of them again and again."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        norms = [
            torch.linalg.vector_norm(part, dim=1, dtype=torch.float64)
            for part in torch.split(rows, TILE)
        ]
        self.squares = torch.cat(norms).square()
        """‖a‖² of each row, float64."""

    def __len__(self) -> int:
        return len(self.rows)


def tiles_of(key: Tensor) -> Sequence[Tensor]:
    """Indices of all points by rising `key` `[N]`, TILE at once; alike ones have like bounds."""
    return torch.split(key.argsort(), TILE)


class Side:
    """Points as factors in `dtype`; `reach`, the r² above, belongs to them, one or one each.

    The product of a row of `left` of one side and a row of `right` of another is their score, half
    the sum of both reaches less half their squared distance.
    """

    def __init__(
        self, points: Points, dtype: torch.dtype, reach: Tensor | float | None = None
    ) -> None:
        self.points, self.dtype = points, dtype
        self._norms = points.squares.sqrt()
        self._rest = (points.squares if reach is None else points.squares - reach) / 2
        self._lost = torch.zeros_like(self._norms)
        if dtype is torch.bfloat16:
            self._lost = torch.cat([_lost(part, dtype) for part in torch.split(points.rows, TILE)])
        terms, rest = [], self._rest
        for _ in range(_TERMS):
            terms.append(-rest.to(dtype))
            rest = rest + terms[-1].double()
        self._terms = torch.stack(terms, dim=1)

    def left(self, rows: Tensor) -> Tensor:
        """Left factors `[n, F + ...]` of the points `rows`."""
        return self._factors(rows, left=True)

    def right(self, rows: Tensor) -> Tensor:
        """Right factors, likewise."""
        return self._factors(rows, left=False)

    def _factors(self, rows: Tensor, left: bool) -> Tensor:
        rounded, terms = self.points.rows[rows].to(self.dtype), self._terms[rows]
        ones = torch.ones_like(terms)
        padding = rounded.new_zeros(len(rows), -(rounded.shape[1] + 2 * _TERMS) % _ALIGNMENT)
        return torch.cat([rounded, *((ones, terms) if left else (terms, ones)), padding], dim=1)

    def error_bound(self, rows: Tensor, right: Side, others: Tensor) -> Tensor:
        """Most that scores of `rows` with `others` of `right` may be wrong, float32 `[n]`.

        Beside it the score itself is rounded to `dtype`.
        """
        columns = self.points.rows.shape[1] + 2 * _TERMS
        summing = unit(torch.promote_types(self.dtype, torch.float32)) * (columns + _TERMS)
        norms, lost, rest = self._norms[rows], self._lost[rows], self._rest[rows].abs()
        norm, loss, other_rest = (
            of_other[others].abs().max() for of_other in (right._norms, right._lost, right._rest)
        )
        rounding = lost * (norm + loss) + norms * loss
        bound = rounding + summing * (norms * norm + rest + other_rest)
        return (bound * (1 + 4 * unit(self.dtype))).float()


def unit(dtype: torch.dtype) -> float:
    """Most by which rounding to `dtype` changes a number, relative to it."""
    return torch.finfo(dtype).eps / 2


def nearest_groups(side: Side, tiles: Sequence[Tensor], count: int) -> Tensor:
    """For each point the groups that may hold one of its `count` nearest: bool `[N, groups]`.

    The point itself is one of them. Rows are in the order of `tiles`, which holds all points.
    """
    maxima = _symmetric_maxima(side, tiles)
    candidates = torch.empty(maxima.shape, dtype=torch.bool)
    parts = zip(tiles, torch.split(maxima, TILE), torch.split(candidates, TILE), strict=True)
    for rows, best, candidate in parts:
        bounds = torch.stack([side.error_bound(rows, side, tile) for tile in tiles], dim=1)
        lower, upper = _limits(best, bounds.repeat_interleave(GROUPS, dim=1))
        surely = lower.topk(min(count, lower.shape[1]), dim=1)
        torch.gt(upper, surely.values[:, -1:], out=candidate)
        candidate.scatter_(1, surely.indices, True)
    return candidates


def _symmetric_maxima(side: Side, tiles: Sequence[Tensor]) -> Tensor:
    """The best score of each point with each group, `[N, groups]`, both in the order of `tiles`."""
    rights = [side.right(tile) for tile in tiles]
    maxima = torch.empty(len(side.points), len(tiles) * GROUPS, dtype=side.dtype)
    by_tile = torch.split(maxima, TILE)
    scores = torch.empty(TILE, TILE, dtype=side.dtype)
    for i, rows in enumerate(tiles):
        left = side.left(rows)
        for j in range(i, len(tiles)):
            found = _product(left, rights[j], scores)
            by_tile[i][:, j * GROUPS : (j + 1) * GROUPS] = _group_maxima(found)
            if j > i:
                by_tile[j][:, i * GROUPS : (i + 1) * GROUPS] = _group_maxima(found.T)
    return maxima


def touched_groups(
    queries: Side,
    rows: Sequence[Tensor],
    balls: Side,
    columns: Sequence[Tensor],
    skip_sure: bool,
) -> tuple[Tensor, Tensor]:
    """The groups of balls that may hold a query, bool `[N, groups]`, and who is surely held.

    The latter, bool `[N]`, are asked no further with `skip_sure`, and have no groups. Rows are in
    the order of `rows`, groups in that of `columns`, which hold all queries and all balls.
    """
    rights = [balls.right(tile) for tile in columns]
    candidates = torch.zeros(len(queries.points), len(columns) * GROUPS, dtype=torch.bool)
    inside = torch.zeros(len(queries.points), dtype=torch.bool)
    scores = torch.empty(TILE, TILE, dtype=queries.dtype)
    parts = zip(rows, torch.split(candidates, TILE), torch.split(inside, TILE), strict=True)
    for asked, candidate, sure in parts:
        followed, left = torch.arange(len(asked)), queries.left(asked)
        for j, (tile, right) in enumerate(zip(columns, rights, strict=True)):
            best = _group_maxima(_product(left, right, scores))
            bound = queries.error_bound(asked[followed], balls, tile)
            lower, upper = _limits(best, bound[:, None])
            candidate[followed, j * GROUPS : (j + 1) * GROUPS] = upper >= 0
            sure[followed] |= (lower >= 0).any(dim=1)
            decided = sure[followed]
            if skip_sure and decided.double().mean() > _WORTH_DROPPING:
                followed, left = followed[~decided], left[~decided]
                if len(followed) == 0:
                    break
        if skip_sure:
            candidate[sure] = False
    return candidates, inside


def group_members(tiles: Sequence[Tensor], groups: int) -> list[Tensor]:
    """The points of each group, some of which may have none; `groups` make a tile."""
    return [tile[first::groups] for tile in tiles for first in range(groups)]


def _lost(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Length of what each row loses when it is rounded, float64 `[N]`."""
    lost: Tensor = torch.linalg.vector_norm(rows - rows.to(dtype), dim=1)
    return lost.double()


def _product(left: Tensor, right: Tensor, buffer: Tensor) -> Tensor:
    """`left` times `right` transposed, in `buffer`: new memory for each would take longer."""
    shape = len(left), len(right)
    return torch.mm(left, right.T, out=buffer.view(-1)[: shape[0] * shape[1]].view(shape))


def _group_maxima(scores: Tensor) -> Tensor:
    """The best of each group, `[n, GROUPS]`, of `scores` `[n, m]`, m at most TILE; -inf of none.

    Halves are compared number by number, which is quick for transposed views too.
    """
    missing = TILE - scores.shape[1]
    if missing > 0:
        scores = F.pad(scores, (0, missing), value=-torch.inf)
    while scores.shape[1] > GROUPS:
        scores = torch.maximum(*scores.chunk(2, dim=1))
    return scores


def _limits(maxima: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
    """Between which numbers the best true scores lie whose computed ones are `maxima`."""
    rounded = maxima.float()
    error = bound + 3 * unit(maxima.dtype) * rounded.abs().nan_to_num(posinf=0)
    return rounded - error, rounded + error
