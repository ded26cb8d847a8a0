"""docs/performance.md says what the result files say."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch
from network_helpers import exit_status

from benchmarks import gpu
from benchmarks.pages import markdown
from benchmarks.performance_page import PAGE, RESULTS, TABLES, ops_table, write_page
from benchmarks.records import device_facts, put
from dnnlib import UserError

STEP = {
    "device": "A device",
    "torch": "2.13.0",
    "cfg": "cifar",
    "resolution": [32, 32],
    "classifier": True,
    "noise": True,
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
    for precision in ("fp16", "fp32"):
        put(tmp_path / "a-device.json", "train_step", {"precision": precision}, STEP)
    write_page(tmp_path, page)
    text = page.read_text()
    assert text.startswith("Words.\n") and text.endswith("\nMore.\n")
    assert "old" not in text
    assert "## A device\n\ntorch 2.13.0." in text
    assert "| cifar | 32x32 | StyleGAN2 + C + noise | fp16, graphs | 3 | 1.50 | 1.23 |" in text
    assert text.count("| cifar |") == 2


def test_a_result_replaces_that_of_the_same_setting_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.json"

    def put_ops(size: int, device: str, seconds: float) -> None:
        put(path, "ops", {"size": size}, {"device": device, "seconds": seconds})

    for size, device in ((1, "a"), (2, "a"), (1, "b")):
        put_ops(size, device, 0)
    put(path, "data", {"size": 1}, {"device": "a", "seconds": 7})
    put_ops(1, "a", 5)
    results = json.loads(path.read_text())
    found = [(each["size"], each["device"], each["seconds"]) for each in results["ops"]]
    assert found == [(1, "a", 5), (2, "a", 0), (1, "b", 0)]
    assert results["data"] == [{"size": 1, "device": "a", "seconds": 7}]


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("[1, 2]")
    with pytest.raises(UserError, match="not a file of benchmark results"):
        put(path, "ops", {}, {"device": "a"})
    assert path.read_text() == "[1, 2]"


def test_a_device_names_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        for threads, words in ((1, ", 1 thread of "), (2, ", 2 threads of ")):
            torch.set_num_threads(threads)
            assert words in device_facts(torch.device("cpu"))["device"]
    finally:
        torch.set_num_threads(before)


def test_operators_are_shown_beyond_the_cache_alone() -> None:
    speed = {"ms": 1.5, "of_copy": 0.5}
    case = {"shape": [1, 2], "dtype": "float16", "layout": "contiguous", "order": "forward"}
    ways = {"kernels": speed, "plain": speed, "compiled": None}
    results = [case | ways | {"operator": name, "config": name} for name in ("cifar", "large")]
    row = "| large | 1x2 | float16 contiguous | forward | 1.500 ms, 50% | 1.500 ms, 50% | - |"
    assert ops_table([{"results": results}]).splitlines()[2:] == [row]


@pytest.fixture
def gpu_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Commands of benchmarks.gpu, which write nothing; it works in `tmp_path`."""
    asked: list[list[str]] = []

    def note(command: list[str], **_: Any) -> CompletedProcess[str]:
        asked.append(command)
        return CompletedProcess(command, 0)

    (tmp_path / "results").mkdir()
    (tmp_path / "page.md").write_text(PAGE.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(gpu, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(gpu.subprocess, "run", note)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB")
    return asked


def test_make_gpu_measures_all_that_the_page_shows(gpu_runs: list[list[str]]) -> None:
    assert exit_status(gpu.main) == 0
    measured = {command[2] for command in gpu_runs if "benchmarks." in command[2]}
    assert {f"benchmarks.{kind}" for kind in TABLES} <= measured
    outs = {command[command.index("--out") + 1] for command in gpu_runs if "--out" in command}
    assert outs == {str(Path("results").resolve() / "nvidia-h100-80gb.json")}
    assert Path("page.md").read_text() != PAGE.read_text()  # drawn anew, from no results


def test_a_quick_look_leaves_results_and_page_alone(gpu_runs: list[list[str]]) -> None:
    assert exit_status(gpu.main, "--quick") == 0
    outs = {command[command.index("--out") + 1] for command in gpu_runs if "--out" in command}
    assert outs == {"build/nvidia-h100-80gb-quick.json"}
    assert Path("page.md").read_text() == PAGE.read_text()


def test_parts_without_time_are_named(
    gpu_runs: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(gpu.main, "--minutes", 0) == 1 and gpu_runs == []
    assert "no time for: parity, operators, " in capsys.readouterr().err


def test_tables_are_markdown() -> None:
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
