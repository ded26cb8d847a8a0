"""What a report reads of a run, whatever has happened to its files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from report_helpers import score, tick, write_scores

from training.report.records import read_records
from training.study.history import read_history


def write(folder: Path, text: str) -> Path:
    (folder / "stats.jsonl").write_text(text, encoding="utf-8")
    return folder


def line(kimg: float, **values: object) -> str:
    return json.dumps(tick(kimg, **values)) + "\n"


def test_a_run_that_told_nothing_has_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        records = read_records(tmp_path)
        assert records.history.records == () and records.scores == () and records.broken == {}
        write(tmp_path, "")


def test_what_was_done_again_counts_as_it_does_for_a_study(tmp_path: Path) -> None:
    ticks = [line(kimg, T_D=kimg) for kimg in (1, 2, 3, 4)]
    again = [line(kimg, T_D=10 * kimg) for kimg in (3, 4, 5)]
    once_more = [line(kimg, T_D=100 * kimg) for kimg in (3.5, 6)]
    write(tmp_path, "".join(ticks + again + once_more))
    history = read_records(tmp_path).history
    assert history.kimg == [1, 2, 3, 3.5, 6]
    assert history.series("T_D") == [1, 2, 30, 350, 600]
    assert history.kimg == read_history(tmp_path).kimg


@pytest.mark.parametrize(
    "broken", ["{", '{"kimg": 2, "T_{"kimg": 3}', '{"step": 1}', '{"kimg": "2"}', "[1]", "\x00", ""]
)
def test_a_broken_line_costs_that_line_alone(tmp_path: Path, broken: str) -> None:
    records = read_records(write(tmp_path, f"{line(1)}{broken}\n{line(2)}"))
    assert records.history.kimg == [1, 2]
    assert records.broken == {"stats.jsonl": 1}


def test_a_last_line_that_is_being_written_is_no_broken_one(tmp_path: Path) -> None:
    records = read_records(write(tmp_path, line(1) + '{"kimg": 2, "T_'))
    assert records.history.kimg == [1] and records.broken == {}


def test_only_numbers_that_can_be_drawn_count(tmp_path: Path) -> None:
    values = '"a": 1e999, "b": NaN, "c": null, "d": "7", "e": true, "f": [1], "g": -2, "h": 1' + (
        400 * "0"
    )
    history = read_records(write(tmp_path, f'{{"kimg": 1, {values}}}\n')).history
    assert history.records == ({"kimg": 1, "g": -2},)


def test_bytes_that_are_no_text_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "stats.jsonl").write_bytes(line(1).encode() + b"\xff\xfe{\n" + line(2).encode())
    assert read_records(tmp_path).history.kimg == [1, 2]


def test_scores_stand_in_the_order_of_their_networks(tmp_path: Path) -> None:
    write_scores(tmp_path, score(20, 5), score(10, 9), score(20, 4))
    scores = read_records(tmp_path).scores
    assert [(each.kimg, each.values) for each in scores] == [(10, {"fid2k": 9}), (20, {"fid2k": 4})]


def test_scores_that_do_not_compare_are_told_apart(tmp_path: Path) -> None:
    others = [
        score(1, 2, num_fake=100),
        score(1, 3, detector_digest="other"),
        score(1, 4, versions={"torch": "3"}),
        score(1, 5, mirror=True),
        score(1, 6, fakes={"network": "network-snapshot-000001.safetensors", "trunc": 0.7}),
    ]
    write_scores(tmp_path, score(1, 1), score(2, 1), *others)
    scores = read_records(tmp_path).scores
    assert len({each.origin for each in scores}) == 6
    assert scores[0].origin == next(each.origin for each in scores if each.kimg == 2)


def test_scores_of_unnumbered_networks_and_odd_records_are_left_out(tmp_path: Path) -> None:
    odd = [
        score(1, 1, fakes={"network": "network-best.safetensors"}),
        score(1, 1, fakes=None),
        score(2, 1, results=7, classes={"a": 1}, warnings="none", versions=[]),
        score(3, 1, results={"fid2k": "NaN", "other": 2.5}, classes=[None, {"results": {"x": 1}}]),
    ]
    write_scores(tmp_path, *odd)
    scores = read_records(tmp_path).scores
    assert [(each.kimg, each.values) for each in scores] == [(2, {}), (3, {"other": 2.5})]
    assert scores[1].classes[0].values == {"x": 1} and scores[0].classes == ()


def test_gaps_are_nan(tmp_path: Path) -> None:
    history = read_records(write(tmp_path, line(1, T_D=None) + line(2, T_D=3))).history
    assert math.isnan(history.series("T_D")[0]) and history.series("T_D")[1] == 3
