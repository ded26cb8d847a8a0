"""Metrics by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnnlib.errors import UserError
from metrics.families import COUNTED, PATH_LENGTH
from metrics.names import parse_metric, parse_metrics
from metrics.path_length import PathConfig

PUBLISHED = {
    "fid50k_full": ("fid", True),
    "kid50k_full": ("kid", True),
    "pr50k3_full": ("pr", True),
    "is50k": ("is", False),
    "fid50k": ("fid", False),
    "kid50k": ("kid", False),
    "pr50k3": ("pr", False),
}
PATHS = {
    "ppl2_wend": PathConfig("w", "end", crop=False),
    "ppl_zfull": PathConfig("z", "full", crop=True),
    "ppl_wfull": PathConfig("w", "full", crop=True),
    "ppl_zend": PathConfig("z", "end", crop=True),
    "ppl_wend": PathConfig("w", "end", crop=True),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_names(name: str) -> None:
    metric = parse_metric(name)
    assert (metric.family.prefix, metric.full) == PUBLISHED[name]
    assert (metric.name, metric.count, metric.path) == (name, 50_000, None)
    assert not metric.mean_over_classes


@pytest.mark.parametrize("name", PATHS)
def test_published_path_lengths(name: str) -> None:
    metric = parse_metric(name)
    assert (metric.count, metric.path) == (50_000, PATHS[name])
    assert metric.num_real(1000) == 0
    assert parse_metric(f"{name}_300").count == 300
    assert parse_metric(f"{name}_5k").count == 5000


@given(
    st.sampled_from([("fid", ""), ("intra_fid", ""), ("kid", ""), ("pr", "3"), ("dc", "5")]),
    st.integers(min_value=6, max_value=10_000),
    st.booleans(),
    st.booleans(),
)
def test_names_mean_what_they_say(
    family: tuple[str, str], number: int, thousands: bool, full: bool
) -> None:
    prefix, suffix = family
    name = f"{prefix}{number}{'k' * thousands}{suffix}{'_full' * full}"
    metric = parse_metric(name)
    assert metric.name == name
    assert prefix == "intra_" * metric.mean_over_classes + metric.family.prefix
    assert metric.count == number * (1000 if thousands else 1)
    assert metric.num_real(10**9) == (10**9 if full else metric.count)
    assert metric.num_real(3) == 3


@given(st.text(max_size=12))
def test_any_other_name_is_a_user_error(name: str) -> None:
    try:
        assert parse_metric(name).name == name
    except UserError as error:
        assert "\n" not in str(error).replace(name, "")


@pytest.mark.parametrize(
    "name",
    (
        *("", "fid", "fid_full", "fid0", "fid05k", "fid50K", "fid50k_", "fid50k_full ", "fid٣k"),
        *("pr3", "pr50k_full", "pr50k4_full", "pr500_full", "dc50k3", "dc50k", "fid999999999k"),
        *("is", "is50k_full", "is50k3", "acc2k_full", "intra_is50k", "intra_pr50k3", "intra_acc1k"),
        *("ppl_w", "ppl2_zend", "ppl2_wfull", "ppl50k_wend", "ppl_wend_", "ppl_wend_5k_full"),
    ),
)
def test_unknown_names_list_what_there_is(name: str) -> None:
    with pytest.raises(UserError, match=r"choose from fid50k_full, kid50k_full, pr50k3_full"):
        parse_metric(name)


@pytest.mark.parametrize("name", ["fid1", "kid1_full", "pr33", "dc55", "is9", "fid99999k"])
def test_impossible_counts(name: str) -> None:
    with pytest.raises(UserError, match=rf"--metrics: {name} takes \d+ to 10000000 images"):
        parse_metric(name)


def test_the_last_digit_is_the_neighbourhood() -> None:
    assert parse_metric("pr503_full").count == 50
    assert parse_metric("pr50k3_full").count == 50_000
    assert parse_metric("pr5003").count == 500
    assert parse_metric("dc505").count == 50


def test_repeated_names_are_computed_once() -> None:
    names = [metric.name for metric in parse_metrics(["kid1k", "fid1k", "kid1k", "kid1000"])]
    assert names == ["kid1k", "fid1k", "kid1000"]


def test_the_names_of_the_documentation_exist() -> None:
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()
    table = page.split("## Names")[1].split("The number is")[0]
    names = re.findall(r"`([a-z0-9_]+)`", table)
    assert set(names) >= set(PATHS)
    assert {parse_metric(name).family.prefix for name in names} == {
        *(family.prefix for family in COUNTED),
        PATH_LENGTH.prefix,
    }
