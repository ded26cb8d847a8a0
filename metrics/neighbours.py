"""Who is near whom among many points: screened in low precision, settled in float64.

½(r² − ‖a − b‖²) = a·b − ½‖a‖² − ½(‖b‖² − r²) is one product of a row of a and a row of b, each with
a few more columns. A processor multiplies small numbers many times faster than float64, and the
error of such a product has a bound (Higham, Accuracy and Stability of Numerical Algorithms, section
3.1). Questions that an answer within the bound leaves open are asked again in the next precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, reduce

import torch
from torch import Tensor

# Rows multiplied at once: wide enough for the processor, few enough for its memory.
_BLOCK = 4096
_PAIRS_AT_ONCE = 256
# Points beyond the k-th that are looked at more closely, and the size of groups they are sought in.
_SPARE = 12
_GROUP = 16
# Candidates a point, beyond which another precision is quicker than one look at each.
_MANY = 64
# Below this many pairs screening takes longer than it saves.
_FEW_PAIRS = 2**22
_TERMS = 3  # of which a float32 consists in bfloat16
_ALIGNMENT = 32  # columns that are multiplied together
_SAMPLE = 64

# The last one is final.
Precisions = Sequence[torch.dtype]


class Points:
    """Rows `[N, F]`, float32, and what is asked of them again and again."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        parts = [part.double().square().sum(dim=1) for part in torch.split(rows, _BLOCK)]
        self.squares = torch.cat(parts)
        """‖a‖² of each row, float64."""
        self._rounded: dict[torch.dtype, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def rounded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The rows in `dtype`, and the length of what each has lost, float64 `[N]`."""
        if dtype not in self._rounded:
            rounded = self.rows.to(dtype)
            lost = self.squares.new_zeros(len(self))
            if dtype is torch.bfloat16:
                lost = torch.linalg.vector_norm(self.rows - rounded, dim=1).double()
            self._rounded[dtype] = rounded, lost
        return self._rounded[dtype]


def centred(points: Tensor, others: Tensor) -> tuple[Points, Points]:
    """`[N, F]` and `[M, F]`, any float dtype, moved so that `points` has its mean in the origin.

    Distances stay the same, but lose less to rounding there.
    """
    centre = points.mean(dim=0, dtype=torch.float64)
    first, second = ((rows - centre.to(rows.dtype)).float() for rows in (points, others))
    return Points(first), Points(second)


def kth_distances(points: Points, k: int, precisions: Precisions | None = None) -> Tensor:
    """Squared distance of each row to its k-th nearest other row, float64 `[N]`, N above `k`.

    `precisions` are those to screen and settle in.
    """
    assert len(points) > k
    precisions = precisions or _precisions(len(points) ** 2)
    squared = torch.empty(len(points), dtype=torch.float64)
    open_rows = torch.arange(len(points))
    near = _typical(points, k)  # scores of the nearest are small then, and so is their rounding
    for dtype in precisions:
        side = _Side(points, dtype, near / 2)
        final = dtype is precisions[-1]
        scores, indices = _largest(side, open_rows, k + 1 + _SPARE * (not final))
        if final:
            squared[open_rows] = (near - 2 * scores[:, k].double()).clamp(min=0)
            break
        squared[open_rows], settled = _closer_look(side, open_rows, scores, indices, k, near)
        open_rows = open_rows[~settled]
        if len(open_rows) == 0:
            break
    return squared


def inside_any(
    points: Points, others: Points, reach: Tensor, precisions: Precisions | None = None
) -> Tensor:
    """Whether each row of `points` lies in a ball around one of `others`: bool `[N]`.

    `reach`: the balls' squared radii, float64 `[M]`; their rims belong to them.
    """
    precisions = precisions or _precisions(len(points) * len(others))
    inside = torch.zeros(len(points), dtype=torch.bool)
    open_rows = torch.arange(len(points))
    # Most points that lie in any ball lie in one near the middle; the rest is spared then.
    middle_first = others.squares.argsort()
    for dtype in precisions:
        queries, balls = _Side(points, dtype), _Side(others, dtype, reach)
        factors = [balls.right(block) for block in torch.split(middle_first, _BLOCK)]
        still_open = []
        for rows in torch.split(open_rows, _BLOCK):
            left, bound = queries.left(rows), queries.error_bound(balls, rows)
            maxima = _maxima(left, factors, bound)
            best = maxima.amax(dim=1)
            inside[rows] = best >= -bound
            doubtful = best.abs() <= bound
            some = rows[doubtful]
            if dtype is precisions[-1] or len(some) == 0:
                continue
            found = _candidates(left[doubtful], factors, maxima[doubtful], bound[doubtful])
            if found is None:
                still_open.append(some)
                continue
            row, ball = some[found[0]], middle_first[found[1]]
            near_enough = _pair_distances(points.rows, row, others.rows, ball) <= reach[ball]
            inside[some] = False
            inside[row[near_enough]] = True
        if not still_open:
            break
        open_rows = torch.cat(still_open)
    return inside


def balls_and_points(points: Points, others: Points, reach: Tensor) -> tuple[Tensor, Tensor]:
    """In how many balls around `points` each of `others` lies, and whether each ball holds any.

    int64 `[M]` and bool `[N]`; `reach` as in `inside_any`, `[N]`. Taken in float64 throughout.
    """
    balls, queries = _Side(points, torch.float64, reach), _Side(others, torch.float64)
    counts = torch.zeros(len(others), dtype=torch.int64)
    any_inside = torch.zeros(len(points), dtype=torch.bool)
    for rows in torch.split(torch.arange(len(others)), _BLOCK):
        bound = queries.error_bound(balls, rows)[:, None]
        for columns in torch.split(torch.arange(len(points)), _BLOCK):
            inside = queries.left(rows) @ balls.right(columns).T >= -bound
            counts[rows] += inside.sum(dim=1)
            any_inside[columns] |= inside.any(dim=0)
    return counts, any_inside


class _Side:
    """Points as factors in `dtype`; `reach`, the r² above, belongs to them, one or one each.

    The product of a row of `left` of one side and a row of `right` of another is their score, half
    the sum of both reaches less half their squared distance.
    """

    def __init__(
        self, points: Points, dtype: torch.dtype, reach: Tensor | float | None = None
    ) -> None:
        self.points, self.dtype = points, dtype
        self._rounded, self._lost = points.rounded(dtype)
        self._rest = (points.squares if reach is None else points.squares - reach) / 2
        self._norms = points.squares.sqrt()
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
        rounded, terms = self._rounded[rows], self._terms[rows]
        ones = torch.ones_like(terms)
        padding = rounded.new_zeros(len(rows), -(rounded.shape[1] + 2 * _TERMS) % _ALIGNMENT)
        return torch.cat([rounded, *((ones, terms) if left else (terms, ones)), padding], dim=1)

    def error_bound(self, right: _Side, rows: Tensor) -> Tensor:
        """Most that scores of `rows` with any row of `right` may be wrong, float64 `[n]`.

        So long as they are small: beside it the score itself is rounded.
        """
        columns = self._rounded.shape[1] + 2 * _TERMS
        summing = _unit(torch.promote_types(self.dtype, torch.float32)) * columns
        norms, lost, rest = self._norms[rows], self._lost[rows], self._rest[rows].abs()
        norm, loss = right._norms.max(), right._lost.max()
        rounding: Tensor = lost * (norm + loss) + norms * loss
        bound = rounding + summing * (norms * norm + rest + right._rest.abs().max())
        return bound * (1 + 4 * _unit(self.dtype))


def _maxima(left: Tensor, factors: Sequence[Tensor], bound: Tensor) -> Tensor:
    """The best score of each row of `left` with each block of `factors`, float64 `[n, blocks]`.

    Rows that are inside for sure, above their `bound`, are not followed any further.
    """
    maxima = bound.new_full((len(left), len(factors)), -torch.inf)
    open_rows = torch.arange(len(left))
    for number, right in enumerate(factors):
        found = (left @ right.T).amax(dim=1).double()
        maxima[open_rows, number] = found
        still_open = found <= bound[open_rows]
        if not bool(still_open.all()):
            open_rows, left = open_rows[still_open], left[still_open]
    return maxima


def _candidates(
    left: Tensor, factors: Sequence[Tensor], maxima: Tensor, bound: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Rows of `left` and of `factors` whose score may be 0 or more; None where they are many."""
    found: list[tuple[Tensor, Tensor]] = []
    for number, right in enumerate(factors):
        rows = (maxima[:, number] >= -bound).nonzero()[:, 0]
        least = -bound[rows].to(left.dtype)[:, None]
        row, column = (left[rows] @ right.T >= least).nonzero(as_tuple=True)
        found.append((rows[row], column + number * _BLOCK))
        if sum(len(some) for some, _ in found) > _MANY * len(left):
            return None
    return torch.cat([row for row, _ in found]), torch.cat([place for _, place in found])


def _largest(side: _Side, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest scores of each of `rows` with all points, falling, and whose they are."""
    everyone = torch.arange(len(side.points))
    columns = torch.split(everyone, _BLOCK)
    symmetric = len(rows) == len(everyone)
    blocks = columns if symmetric else torch.split(rows, _BLOCK)
    factors = [side.right(others) for others in columns]
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in blocks]
    for i, block in enumerate(blocks):
        left = side.left(block)
        for j in range(i if symmetric else 0, len(columns)):
            scores = left @ factors[j].T
            found[i].append(_top(scores, count, columns[j][0]))
            if symmetric and j > i:
                found[j].append(_top(scores.T, count, block[0]))
    merged = [_merge(parts, count) for parts in found]
    return torch.cat([values for values, _ in merged]), torch.cat([who for _, who in merged])


def _merge(parts: Sequence[tuple[Tensor, Tensor]], count: int) -> tuple[Tensor, Tensor]:
    values = torch.cat([values for values, _ in parts], dim=1)
    indices = torch.cat([indices for _, indices in parts], dim=1)
    best = values.topk(min(count, values.shape[1]), dim=1)
    return best.values, indices.gather(1, best.indices)


def _top(scores: Tensor, count: int, first: Tensor | int = 0) -> tuple[Tensor, Tensor]:
    """`torch.topk` along the rows, with indices from `first` on; a transposed view is quick too.

    The largest `count` lie in the `count` groups with the largest maxima. A group's members are far
    apart, so that maxima of neighbouring groups are taken together.
    """
    count = min(count, scores.shape[1])
    num_groups = scores.shape[1] // _GROUP
    width = num_groups * _GROUP
    if num_groups <= 2 * count:
        top = scores.topk(count, dim=1)
        return top.values, top.indices + first
    maxima = reduce(torch.maximum, torch.split(scores[:, :width], num_groups, dim=1))
    groups = maxima.contiguous().topk(count, dim=1).indices
    members = (groups[:, :, None] + num_groups * torch.arange(_GROUP)).flatten(1)
    rest = torch.arange(width, scores.shape[1]).expand(len(scores), -1)
    members = torch.cat([members, rest], dim=1)
    top = scores.gather(1, members).topk(count, dim=1)
    return top.values, members.gather(1, top.indices) + first


def _closer_look(
    side: _Side, rows: Tensor, scores: Tensor, indices: Tensor, k: int, near: float
) -> tuple[Tensor, Tensor]:
    """`kth_distances` of `rows` from their largest scores, and which of them are surely right.

    `near` is twice the score of two points in the same place.
    """
    points, scores = side.points, scores.double()
    itself = indices == rows[:, None]
    rounding = _unit(side.dtype) * scores.masked_fill(itself, 0).abs().amax(dim=1)
    bound = (side.error_bound(side, rows) + rounding)[:, None]
    squared = torch.full_like(scores, torch.inf).masked_fill_(itself, 0)
    row, place = ((scores >= scores[:, k : k + 1] - 2 * bound) & ~itself).nonzero(as_tuple=True)
    who = indices[row, place]
    squared[row, place] = _pair_distances(points.rows, rows[row], points.rows, who)
    kth = squared.kthvalue(k + 1, dim=1).values
    if scores.shape[1] == len(points):
        return kth, torch.ones_like(rows, dtype=torch.bool)
    nearest_unseen = (near - 2 * (scores[:, -1] + bound[:, 0])).clamp(min=0)
    return kth, kth <= nearest_unseen


def _pair_distances(points: Tensor, first: Tensor, others: Tensor, second: Tensor) -> Tensor:
    """Squared distances of rows `first` of `points` and `second` of `others`, float64 `[n]`."""
    squared = torch.empty(len(first), dtype=torch.float64)
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        difference = points[first[some]] - others[second[some]]
        torch.linalg.vector_norm(difference, dim=1, dtype=torch.float64, out=squared[some])
    return squared.square_()


def _typical(points: Points, k: int) -> float:
    """About the squared distance of a row to its k-th nearest other row."""
    some = torch.arange(0, len(points), max(len(points) // _SAMPLE, 1))
    inner = (points.rows[some] @ points.rows.T).double()
    squared = points.squares[some][:, None] + points.squares - 2 * inner
    return float(squared.kthvalue(k + 1, dim=1).values.median())


def _unit(dtype: torch.dtype) -> float:
    """Most by which rounding to `dtype` changes a number, relative to it."""
    return torch.finfo(dtype).eps / 2


def _precisions(num_pairs: int) -> Precisions:
    if num_pairs <= _FEW_PAIRS:
        return (torch.float64,)
    if _multiplies_bfloat16():
        return (torch.bfloat16, torch.float32, torch.float64)
    return (torch.float32, torch.float64)


@cache
def _multiplies_bfloat16() -> bool:
    """Whether the processor has matrix units for bfloat16; without, float32 is quicker."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
