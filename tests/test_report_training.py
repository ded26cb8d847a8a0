"""A run keeps its page up to date, and goes on where the page fails."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from data_helpers import labelled, png, write_zip
from report_helpers import PageParser, captions, charts, parse
from training_helpers import CPU, SMALL

from torch_utils.checkpoint import load_tensors
from torch_utils.world import World
from training.artifacts import RunFiles
from training.data.dataset import DataConfig, open_dataset
from training.loop import TrainingLoop
from training.options import data_facts, make_config, resolve_options
from training.report import run_report
from training.state import TrainingState


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve grey 8x8 images of two classes."""
    files = labelled([index % 2 for index in range(12)])
    for index, name in enumerate(sorted(files.keys() - {"dataset.json"})):
        files[name] = png(index, 8, 8, 1)
    return write_zip(tmp_path_factory.mktemp("data") / "data.zip", files)


def train(run_dir: Path, data: Path) -> None:
    """A run of two steps, each a thousand images and a snapshot."""
    run_dir.mkdir()
    dataset = open_dataset(DataConfig(path=str(data)))
    given = SMALL | {"kimg": 2.0, "tick": 1.0, "snap": 1, "batch": 1000, "workers": 0}
    options = resolve_options("tiny", given, 8, 8)
    config = make_config(options, dataset.config, data_facts(dataset))
    (run_dir / "training_options.json").write_text(config.to_json(), encoding="utf-8")
    TrainingLoop(config, TrainingState(config, CPU), dataset, run_dir, World(CPU)).run()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, list[PageParser]]:
    """The folder of a run, and its page at the start and after each checkpoint."""
    run_dir, pages = tmp_path_factory.mktemp("watched") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("first_pictures", "save_state"):
            then = getattr(RunFiles, name)

            def looked_at(files: RunFiles, then: object = then) -> None:
                then(files)  # type: ignore[operator]
                pages.append(parse(files.run_dir))

            patch.setattr(RunFiles, name, looked_at)
        train(run_dir, data)
    return run_dir, pages


def test_the_page_is_refreshed_at_each_snapshot(watched: tuple[Path, list[PageParser]]) -> None:
    _, pages = watched
    assert [captions(page, "Generated") for page in pages] == [
        ["start"],
        ["start", "kimg 1"],
        ["start", "kimg 1", "kimg 2"],
    ]
    assert charts(pages[0]) == {}
    assert [charts(page)["Horizon T"]["kimg"] for page in pages[1:]] == [[1], [1, 2]]
    assert not any(page.all("p", "notice") for page in pages)


def test_the_page_shows_what_the_run_wrote(watched: tuple[Path, list[PageParser]]) -> None:
    run_dir, pages = watched
    lines = (run_dir / "stats.jsonl").read_text(encoding="utf-8").splitlines()
    ticks = [json.loads(line) for line in lines]
    drawn = charts(pages[-1])
    for title, names in {
        "Adversarial loss": ("Loss/G/adversarial", "Loss/D/adversarial"),
        "Horizon T": ("T_D", "T_C"),
        "Accuracy of C on real images": ("Accuracy/C/real",),
    }.items():
        for values, name in zip(drawn[title]["values"], names, strict=True):
            assert values == pytest.approx([each[name] for each in ticks], rel=1e-5)
    newest = captions(pages[-1], "Real images with")[-1]
    assert newest == f"kimg 2, T of D {ticks[-1]['T_D']:g}, T of C {ticks[-1]['T_C']:g}"


def test_a_run_goes_on_where_its_page_fails(
    watched: tuple[Path, list[PageParser]],
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no page today")

    monkeypatch.setattr(run_report, "small_picture", fail)
    monkeypatch.setattr(run_report, "write_page", fail)
    warnings: list[str] = []
    monkeypatch.setattr(run_report.logger, "warning", warnings.append)
    train(tmp_path / "run", data)
    told = "report.html is not up to date (RuntimeError: no page today); training goes on"
    assert [text for text in warnings if "report" in text] == [told]  # once
    assert not (tmp_path / "run" / "report.html").exists()
    network = "network-snapshot-000002.safetensors"
    ours, theirs = (load_tensors(folder / network)[0] for folder in (tmp_path / "run", watched[0]))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert math.isfinite(sum(float(tensor.sum()) for tensor in ours.values()))
