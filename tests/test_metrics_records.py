"""Scores and their provenance, written and printed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from metrics_helpers import Fakes, Pixels, Reals, measured, pictures

import metrics.suite
from dnnlib.errors import UserError
from metrics.records import ClassScores, MetricRecord, append_record, format_table

PLAIN: dict[str, Any] = {
    "metric": "fid1k_full",
    "results": {"fid1k_full": 12.3456789},
    "num_real": 5000,
    "num_fake": 1000,
    "detector": "pixels",
    "detector_digest": "ab" * 32,
    "resize": "none",
    "precision": "fp32",
    "dataset_digest": "cd" * 32,
    "mirror": False,
    "fakes": {"network_digest": "ef" * 32, "trunc": 1.0},
    "versions": {"torch": "2"},
    "seconds": 1.5,
}


def record_of(**facts: Any) -> MetricRecord:
    """A record with these facts."""
    return MetricRecord(**{**PLAIN, **facts})


def scores_of(name: str, value: float, metric: str = "fid1k_full") -> ClassScores:
    """One class's value."""
    return ClassScores(class_name=name, num_real=50, num_fake=10, results={metric: value})


def test_records_are_appended_as_json_lines(tmp_path: Path) -> None:
    first, second = record_of(), record_of(seconds=2.5, warnings=("few",))
    path = append_record(tmp_path, first)
    assert append_record(tmp_path, second) == path == tmp_path / "metric-fid1k_full.jsonl"
    lines = path.read_text().splitlines()
    assert [MetricRecord.from_json(line, path) for line in lines] == [first, second]
    assert json.loads(lines[0])["results"]["fid1k_full"] == 12.3456789


def test_scores_that_are_no_numbers_are_still_json(tmp_path: Path) -> None:
    classes = (scores_of("cat", math.nan),)
    path = append_record(tmp_path, record_of(results={"fid1k_full": math.inf}, classes=classes))

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    json.loads(path.read_text(), parse_constant=refuse)
    again = MetricRecord.from_json(path.read_text(), path)
    assert again.results["fid1k_full"] == math.inf
    assert math.isnan(again.classes[0].results["fid1k_full"])


def test_record_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        append_record(tmp_path / "absent", record_of())


CHANGES: dict[str, Any] = {
    "detector": "others",
    "detector_digest": "00" * 32,
    "resize": "bicubic-299",
    "precision": "fp16",
    "dataset_digest": "11" * 32,
    "mirror": True,
    "fakes": {"network_digest": "22" * 32, "trunc": 1.0},
    "versions": {"torch": "3"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_table_tells_apart_what_does_not_compare(name: str) -> None:
    table = format_table([record_of(), record_of(**{name: CHANGES[name]}), record_of(seconds=9.0)])
    lines = table.splitlines()
    assert len(lines) == 1 + 3 + 2
    assert [line.split()[-1] for line in lines[1:4]] == ["[1]", "[2]", "[1]"]
    assert lines[4].removeprefix("[1]") != lines[5].removeprefix("[2]")


def test_the_table_has_a_line_for_each_value_and_its_counts() -> None:
    values = {"pr1k3_precision": 0.5, "pr1k3_recall": 0.25}
    lines = format_table([record_of(), record_of(metric="pr1k3", results=values)]).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["metric", "value", "real", "generated"],
        ["fid1k_full", "12.346", "5000", "1000", "[1]"],
        ["pr1k3_precision", "0.5", "5000", "1000", "[1]"],
        ["pr1k3_recall", "0.25", "5000", "1000", "[1]"],
    ]
    assert len({line.index("[1]") for line in lines[1:4]}) == 1
    parts = ("pixels abababababab,", "data cdcdcdcdcdcd;", "network_digest efefefefefef, trunc 1.0")
    assert all(part in lines[4] for part in parts)


def test_classes_stand_below_each_other_with_the_worst_first() -> None:
    fid = (scores_of("dog", 30), scores_of("a cat", 20), scores_of("wild", math.nan))
    acc = tuple(scores_of(name, i / 4, "acc1k") for i, name in enumerate(("wild", "a cat", "dog")))
    others = {"detector": "classifier", "metric": "acc1k", "results": {"acc1k": 0.25}}
    table = format_table([record_of(classes=fid), record_of(classes=acc, **others)])
    _, classes, _ = table.split("\n\n")
    heading, notes, *lines = classes.splitlines()
    assert heading.split()[-2:] == ["fid1k_full", "acc1k"]
    assert notes.split() == ["[1]", "[2]"]
    assert [line.split()[-4:] for line in lines] == [
        ["50", "10", "30", "0.5"],
        ["50", "10", "20", "0.25"],
        ["50", "10", "nan", "0"],
    ]
    assert [line[:5].strip() for line in lines] == ["dog", "a cat", "wild"]


def test_classes_of_other_images_have_a_table_of_their_own() -> None:
    records = [
        record_of(classes=(scores_of("dog", 30),)),
        record_of(classes=(scores_of("dog", 31),), num_fake=500),
    ]
    assert format_table(records).count("class, worst first") == 2


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a record says of a plain measurement, but for the time it took."""
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))
    return recorded()


def recorded(
    metric: str = "fid40_full",
    reals: Reals | None = None,
    fakes: Fakes | None = None,
    detector: Pixels | None = None,
) -> dict[str, Any]:
    """What the record says, but for the scores and the time they took."""
    sides = reals or Reals(pictures(50)), fakes or Fakes(pictures(40, 1))
    (record,) = measured([metric], *sides, detector or Pixels()).records
    return record.model_dump(exclude={"results", "seconds"})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metric": "fid30_full"}, "num_fake"),
        ({"metric": "fid40"}, "num_real"),
        ({"metric": "kid40_full"}, "metric"),
        ({"detector": Pixels(name="others")}, "detector"),
        ({"detector": Pixels(digest="00" * 32)}, "detector_digest"),
        ({"detector": Pixels(resize="bicubic")}, "resize"),
        ({"detector": Pixels(precision="fp16")}, "precision"),
        ({"reals": Reals(pictures(50), digest="00" * 32)}, "dataset_digest"),
        ({"reals": Reals(pictures(50), mirror=True)}, "mirror"),
        ({"reals": Reals(pictures(49))}, "num_real"),
        ({"fakes": Fakes(pictures(39, 1))}, "num_fake"),
        ({"fakes": Fakes(pictures(40, 1), description={"trunc": 0.5})}, "fakes"),
    ],
    ids=str,
)
def test_whatever_a_score_depends_on_changes_its_record(
    one: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    other = recorded(**change)
    assert other[field] != one[field]
    assert recorded() == one


def test_versions_change_the_record(one: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in one["versions"]:
        newer = one["versions"] | {name: "99"}
        monkeypatch.setattr(metrics.suite, "package_versions", lambda newer=newer: newer)
        assert recorded()["versions"] == newer != one["versions"]
