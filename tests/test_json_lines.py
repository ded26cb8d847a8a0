"""Lines of JSON stay readable whatever a killed process left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnnlib.json_lines import append_json_line


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (None, []),
        (b"", []),
        (b'{"a": 1}\n', [{"a": 1}]),
        (b'{"a": 1}\n{"a": 2', [{"a": 1}]),
        (b'{"a"', []),
        (b'{"a": 1}', [{"a": 1}]),  # by an editor that ends no lines
        (b'{"a": 1}\n{"\xc3', [{"a": 1}]),
    ],
)
def test_a_line_is_added_behind_whole_lines(
    tmp_path: Path, before: bytes | None, kept: list[object]
) -> None:
    path = tmp_path / "stats.jsonl"
    if before is not None:
        path.write_bytes(before)
    append_json_line(path, '{"b": "é"}')
    lines = path.read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == [*kept, {"b": "é"}]
    assert lines[-1] == ""


@given(st.lists(st.integers() | st.text(), min_size=1), st.integers(min_value=0))
def test_a_file_cut_anywhere_loses_no_whole_line(
    tmp_path_factory: pytest.TempPathFactory, values: list[int | str], cut: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    for value in values:
        append_json_line(path, json.dumps([value]))
    data = path.read_bytes()[: cut % (path.stat().st_size + 1)]
    path.write_bytes(data)
    append_json_line(path, "null")
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    whole = data.count(b"\n")
    assert found[-1] is None
    assert found[:-1] in ([[v] for v in values[:whole]], [[v] for v in values[: whole + 1]])
