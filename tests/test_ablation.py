"""The ablation: variants that are what their names say, runs that go on, tables of records."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import ablation
from benchmarks.ablation import Ablation, chosen_variants, read_records
from benchmarks.ablation_page import PAGE, draw_page, named_scores, section, spread_of
from benchmarks.variants import MAIN, VARIANTS
from dnnlib import UserError
from training.config import DataFacts, TrainingConfig
from training.data.dataset import DataConfig
from training.options import make_config, resolve_options

FACTS = DataFacts(
    width=16,
    height=16,
    num_channels=1,
    num_classes=3,
    class_names=("a", "b", "c"),
    num_images=9,
    digest="0",
)


def config_of(variant: str) -> TrainingConfig:
    options = resolve_options("tiny", VARIANTS[variant].options, 16, 16)
    return make_config(options, DataConfig(path="x.zip"), FACTS)


def record(variant: str, seed: int, fid: float) -> dict[str, Any]:
    scores = {"fid50_full": fid, "pr503_full_recall": 0.5, "acc50": 0.9, "acc50_real": 0.95}
    return {
        "variant": variant,
        "seed": seed,
        "count": 50,
        "cfg": "tiny",
        "trained_kimg": 1.0,
        "seconds": 10.0 * seed,
        "data": "digits",
        "judge_on_held_out": 0.975,
        "scores": scores,
        "device": "a CPU",
        "torch": "2",
    }


def test_variants_are_what_their_names_say() -> None:
    configs = {name: config_of(name) for name in VARIANTS}
    assert len(set(map(TrainingConfig.to_json, configs.values()))) == len(VARIANTS)
    plain = configs["stylegan2"]
    assert (plain.classifier, plain.diffusion_d, plain.diffusion_c, plain.augment) == (None,) * 4
    noisy = configs["diffusion-gan"]
    assert noisy.classifier is None and noisy.diffusion_d is not None
    assert configs["no-noise-d"].diffusion_d is None and configs["no-noise-d"].diffusion_c
    assert configs["no-noise-c"].diffusion_c is None and configs["no-noise-c"].diffusion_d
    assert configs["stylegan2-ada"].augment is not None
    published = configs["dudgan-published"].losses
    assert (published.lambda_g, published.contrast_g, published.label_g) == (0.95, "class", 0)
    assert configs["no-contrast"].losses.lambda_g == 1 and configs["no-contrast"].classifier


def test_variants_are_chosen_by_name() -> None:
    assert list(chosen_variants("main")) == list(MAIN) and len(MAIN) >= 4
    assert list(chosen_variants("all")) == list(VARIANTS)
    assert chosen_variants("t-raw,dudgan") == ["t-raw", "dudgan"]
    with pytest.raises(UserError, match="--variants: there is no 'gan'; choose main"):
        chosen_variants("gan")


def test_a_run_is_scored_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "RESULTS", tmp_path)
    monkeypatch.setattr(ablation, "JudgeDetector", lambda *_: SimpleNamespace(held_out_accuracy=1))
    subject = Ablation("digits", "tiny", 0.032, tmp_path / "work", torch.device("cpu"))
    scored: list[int] = []

    def scores(network: Any, count: int) -> dict[str, float]:
        scored.append(network.nimg)
        return {"fid8_full": 1.0}

    monkeypatch.setattr(subject, "scores", scores)
    for seed in (0, 0, 1):
        assert subject.run("stylegan2", seed, 8) is None
    assert scored == [32, 32]
    records = read_records(tmp_path / "ablation-digits.jsonl")
    assert [(r["variant"], r["seed"], r["trained_kimg"]) for r in records] == [
        ("stylegan2", 0, 0.032),
        ("stylegan2", 1, 0.032),
    ]
    assert records[0]["seconds"] > 0 and records[0]["judge_on_held_out"] > 0.9


def test_tables_give_means_and_deviations() -> None:
    text = section([record("dudgan", 1, 2.0), record("stylegan2", 1, 7), record("dudgan", 2, 4.0)])
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == ["stylegan2", "dudgan"]  # as in VARIANTS
    assert "| 2 | 15 | 3.0 ± 1.4 | 0.500 ± 0.000 | 0.900 ± 0.000 |" in rows[1]
    assert "| 1 | 10 | 7.0 | 0.500 | 0.900 |" in rows[0]
    assert "97.5%" in text and "a CPU, torch 2" in text
    assert spread_of([1.0], 2) == "1.00"
    assert named_scores(record("dudgan", 0, 1.0)).keys() == {"FID", "recall", "accuracy"}


def test_the_page_is_as_the_records_say(tmp_path: Path) -> None:
    copy = tmp_path / "results.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    results = sorted(ablation.RESULTS.glob("ablation-*"))
    draw_page({path.stem: read_records(path) for path in results}, copy)
    assert copy.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    assert all(json.loads(line) for path in results for line in path.read_text().splitlines())
