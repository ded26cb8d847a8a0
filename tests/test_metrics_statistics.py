"""Edges of the statistics: the fewest images, parallel vectors, sizes of subsets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from metrics_helpers import normal
from test_metrics_path_length import Linear, SquaredError

from metrics import kid as kid_module
from metrics import path_length
from metrics.families import COUNTED
from metrics.fid import fid, mean_and_covariance
from metrics.kid import kid, squared_mmd
from metrics.path_length import PathConfig, path_lengths, slerp
from metrics.per_class import class_doubts, class_scores, mean_over_classes
from metrics.sources import Sample
from torch_utils.seeding import derive_seed

KID = next(family for family in COUNTED if family.prefix == "kid")


def sample(counts: tuple[int, ...], seed: int) -> Sample:
    """That many images of each class."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return Sample(normal(len(labels), 4, seed), labels)


def test_a_subset_has_no_more_rows_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def record(x: torch.Tensor, y: torch.Tensor) -> float:
        sizes.append((len(x), len(y)))
        return float(len(sizes))

    monkeypatch.setattr(kid_module, "squared_mmd", record)
    assert kid(normal(50), normal(40), num_subsets=4, max_subset_size=30) == (1 + 2 + 3 + 4) / 4
    assert sizes == [(30, 30)] * 4
    sizes.clear()
    kid(normal(50), normal(40), num_subsets=2, max_subset_size=45)
    assert sizes == [(40, 40)] * 2


def test_rows_of_a_subset_are_drawn_without_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(kid_module, "squared_mmd", lambda x, y: drawn.extend([x, y]) or 0.0)
    rows = torch.arange(60.0)[:, None]
    kid(rows, rows[:50], num_subsets=3, max_subset_size=40)
    assert all(subset.unique().numel() == 40 for subset in drawn)
    assert len({tuple(subset.flatten().tolist()) for subset in drawn}) == 6


@pytest.mark.parametrize(("x", "y"), [((3, 2), (4, 2)), ((1, 2), (1, 2)), ((3, 2), (3, 4))])
def test_an_unbiased_estimate_takes_pairs_of_either_side(
    x: tuple[int, int], y: tuple[int, int]
) -> None:
    with pytest.raises(AssertionError):
        squared_mmd(torch.zeros(x), torch.zeros(y))


def test_two_rows_are_enough_for_an_estimate() -> None:
    """Kernels of one feature: (x y + 1)³."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    within = (0 * 1 + 1) ** 3 + (1 * 2 + 1) ** 3
    across = [(a * b + 1) ** 3 for a in (0, 1) for b in (1, 2)]
    assert squared_mmd(x, y) == pytest.approx(within - 2 * sum(across) / 4)


def test_a_covariance_takes_a_row_or_more_of_features() -> None:
    row = normal(1, 5)
    mean, covariance = mean_and_covariance(row)
    assert torch.equal(mean, row[0].double()) and covariance.eq(0).all()
    for wrong in (torch.zeros(0, 5), torch.zeros(5)):
        with pytest.raises(AssertionError):
            mean_and_covariance(wrong)


def test_sums_stay_on_the_device_of_the_features() -> None:
    """Another default device, here one without memory, changes nothing."""
    real, fake = normal(30, 6), normal(30, 6, seed=1)
    expected = fid(real, fake), squared_mmd(real, fake)
    with torch.device("meta"):
        assert (fid(real, fake), squared_mmd(real, fake)) == expected


def test_slerp_of_parallel_vectors_is_a_number() -> None:
    """In float32 the product of a direction with itself may exceed one."""
    a = normal(500, 9)
    t = torch.linspace(0, 1, 500)[:, None]
    unit = a / a.norm(dim=1, keepdim=True)
    torch.testing.assert_close(slerp(a, 3 * a, t), unit, rtol=0, atol=1e-3)
    assert slerp(a, -a, t).isfinite().all()


def test_paths_begin_anywhere_or_at_their_end() -> None:
    places = [
        torch.cat(
            [path_length._draw(4, PathConfig("w", sampling, False), n)[2] for n in range(400)]
        )
        for sampling in ("full", "end")
    ]
    assert places[0].mean().item() == pytest.approx(0.5, abs=0.05)
    assert places[0].min() >= 0 and 0.9 < places[0].max() < 1
    assert places[1].eq(0).all()


@pytest.mark.parametrize("space", ["z", "w"])
def test_a_step_goes_on_along_the_path(space: Literal["z", "w"]) -> None:
    generator, labels = Linear(), torch.tensor([0, 1])
    start, end = normal(2, generator.z_dim).double(), normal(2, generator.z_dim, seed=1).double()
    t = torch.full((2, 1), 0.25, dtype=torch.float64)
    config = PathConfig(space, "full", crop=False, epsilon=0.5)
    found = path_length._styles(generator, config, [0, 1], start, end, t)
    for styles, share in zip(found, (0.25, 0.75), strict=True):
        z = start + share * (end - start)
        if space == "z":
            z = generator.z_dim**0.5 * slerp(start, end, t * 0 + share)
        torch.testing.assert_close(styles, generator.mapping(z.float(), labels))


def test_a_path_follows_from_the_seed_and_its_index_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that scores of one release can be compared with those of the next."""
    parts: list[tuple[int | str, ...]] = []

    def derive(*of: int | str) -> int:
        parts.append(of)
        return derive_seed(*of)

    monkeypatch.setattr(path_length, "derive_seed", derive)
    path_lengths(Linear(seed=5), SquaredError(), PathConfig("w", "end", False), [8, 2])
    assert parts == [(5, "path", 8), (5, "path", 2)]


def test_the_fewest_images_of_a_class_have_a_score() -> None:
    real, fake = sample((2, 3), 0), sample((2, 2), 1)
    scores = class_scores("kid", KID, real, fake, ("cat", "dog"))
    assert all(math.isfinite(of.results["kid"]) for of in scores)
    quiet = replace(KID, doubts=lambda real, fake: [])
    assert class_doubts(quiet, real, fake, ("cat", "dog")) == []


def test_without_any_score_there_is_no_mean() -> None:
    scores = class_scores("kid", KID, sample((1,), 0), sample((9,), 1), ("cat",))
    assert math.isnan(mean_over_classes(scores)["kid"])


def test_doubts_name_the_first_class_and_how_many_there_are() -> None:
    doubtful = replace(KID, doubts=lambda real, fake: ["a", "b"])
    of = [
        class_doubts(doubtful, sample((4,) * n, 0), sample((4,) * n, 1), "xyz"[:n]) for n in (1, 2)
    ]
    assert of == [["class x: a"], ["class x: a (one of 2 such classes)"]]
    (doubt,) = class_doubts(doubtful, sample((1, 4), 0), sample((4, 4), 1), "xy")
    assert doubt == (
        "class x: 1 real and 4 generated images are too few for a score (one of 2 such classes)"
    )
