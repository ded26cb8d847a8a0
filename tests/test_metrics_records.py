"""Scores and their provenance, written and printed."""

import json

import pytest

from dnnlib.errors import UserError
from metrics.records import MetricRecord, append_record, format_table


def record_of(metric, **facts):
    plain = {
        "metric": metric,
        "results": {metric: 12.3456789},
        "num_real": 5000,
        "num_fake": 1000,
        "detector": "pixels",
        "detector_digest": "ab" * 32,
        "resize": "none",
        "dataset_digest": "cd" * 32,
        "mirror": False,
        "fakes": {"network": "a.safetensors"},
        "versions": {"torch": "2"},
        "seconds": 1.5,
    }
    return MetricRecord(**{**plain, **facts})


def test_records_are_appended_as_json_lines(tmp_path):
    first, second = record_of("fid1k_full"), record_of("fid1k_full", seconds=2.5)
    path = append_record(tmp_path, first)
    assert append_record(tmp_path, second) == path == tmp_path / "metric-fid1k_full.jsonl"
    lines = path.read_text().splitlines()
    assert [MetricRecord.from_json(line, path) for line in lines] == [first, second]
    assert json.loads(lines[0])["results"]["fid1k_full"] == 12.3456789


def test_record_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        append_record(tmp_path / "absent", record_of("fid1k_full"))


def test_table_keeps_values_apart_that_do_not_compare():
    table = format_table(
        [
            record_of("fid1k_full"),
            record_of("pr1k3", results={"pr1k3_precision": 0.5, "pr1k3_recall": 0.25}),
            record_of("fid1k_full", mirror=True),
        ]
    )
    lines = table.splitlines()
    assert len(lines) == 1 + 4 + 2
    assert lines[1].split() == ["fid1k_full", "12.346", "5000", "1000", "[1]"]
    assert lines[3].split() == ["pr1k3_recall", "0.25", "5000", "1000", "[1]"]
    assert lines[4].split()[-1] == "[2]"
    assert "mirrored" in lines[6] and "mirrored" not in lines[5]
    assert all(part in lines[5] for part in ("pixels", "abababababab", "cdcd", "a.safetensors"))
