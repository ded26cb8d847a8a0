"""docs/performance.md says what the result files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.pages import markdown
from benchmarks.performance_page import PAGE, RESULTS, write_page
from benchmarks.records import append
from dnnlib import UserError

STEP = {
    "device": "A device",
    "torch": "2.13.0",
    "cfg": "cifar",
    "resolution": [32, 32],
    "classifier": True,
    "noise": True,
    "precision": "fp16",
    "cuda_graphs": True,
    "sec_per_kimg": 3.0,
    "sec_per_kimg_convolutions_alone": 2.0,
    "peak_memory_gib": 1.234,
}


def test_page_shows_the_results_that_are_there(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text())
    write_page(RESULTS, page)
    assert page.read_text() == PAGE.read_text(), "run python -m benchmarks.performance_page"


def test_records_become_rows_and_words_stay(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("Words.\n\n<!-- tables: begin -->\n\nold\n\n<!-- tables: end -->\nMore.\n")
    append(tmp_path / "a-device.json", "train_step", STEP)
    append(tmp_path / "a-device.json", "train_step", STEP | {"precision": "fp32"})
    write_page(tmp_path, page)
    text = page.read_text()
    assert text.startswith("Words.\n") and text.endswith("\nMore.\n")
    assert "old" not in text
    assert "## A device\n\ntorch 2.13.0." in text
    assert "| cifar | 32x32 | StyleGAN2 + C + noise | fp16, graphs | 3 | 1.50 | 1.23 |" in text
    assert text.count("| cifar |") == 2


def test_results_are_added_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for value in (1, 2):
        append(path, "ops", {"value": value})
    append(path, "data", {"value": 3})
    expected = {"ops": [{"value": 1}, {"value": 2}], "data": [{"value": 3}]}
    assert json.loads(path.read_text()) == expected
    path.write_text("[1, 2]")
    with pytest.raises(UserError, match="not a file of benchmark results"):
        append(path, "ops", {})
    assert path.read_text() == "[1, 2]"


def test_tables_are_markdown() -> None:
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
