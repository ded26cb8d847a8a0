"""The ablation: variants that are what their names say, runs that go on, tables of records."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import ablation
from benchmarks.ablation import RESULTS, Ablation, chosen_variants, read_records
from benchmarks.ablation_page import PAGE, draw_page, named_scores, section, spread_of
from benchmarks.variants import MAIN, VARIANTS, Variant
from dnnlib import UserError
from training import presets
from training.config import DataFacts, TrainingConfig
from training.data.dataset import DataConfig
from training.options import make_config, resolve_options
from training.presets import PresetName

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


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, int, int]]:
    """Preset, images seen and count of each network that was scored, in place of its scores."""
    networks: list[tuple[str, int, int]] = []

    def scores(_: Ablation, network: Any, count: int) -> dict[str, float]:
        networks.append((network.config.preset, network.nimg, count))
        return {"fid8_full": 1.0}

    monkeypatch.setattr(ablation, "RESULTS", tmp_path)
    monkeypatch.setattr(ablation, "JudgeDetector", lambda *_: SimpleNamespace(held_out_accuracy=1))
    monkeypatch.setattr(Ablation, "scores", scores)
    return networks


def digits(tmp_path: Path, cfg: PresetName = "tiny", kimg: float | None = 0.032) -> Ablation:
    return Ablation("digits", cfg, kimg, tmp_path / "work", torch.device("cpu"))


def test_a_run_is_scored_once_and_goes_on(
    tmp_path: Path, scored: list[tuple[str, int, int]]
) -> None:
    for seed in (0, 0, 1):
        assert digits(tmp_path).run("stylegan2", seed, 8) is None
    assert scored == [("tiny", 32, 8)] * 2
    records = read_records(tmp_path / "ablation-digits.jsonl")
    assert [(r["variant"], r["seed"], r["trained_kimg"]) for r in records] == [
        ("stylegan2", 0, 0.032),
        ("stylegan2", 1, 0.032),
    ]
    assert records[0]["seconds"] > 0 and records[0]["judge_on_held_out"] > 0.9


def test_other_lengths_presets_and_counts_are_other_experiments(
    tmp_path: Path, scored: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer first, so that the newest or last folder is not always the right one."""
    monkeypatch.setitem(presets._TINY, "kimg", 0.064)
    for kimg, count in ((None, 8), (0.032, 8), (0.064, 8), (0.032, 4)):
        digits(tmp_path, kimg=kimg).run("stylegan2", 0, count)
    assert scored == [("tiny", 64, 8), ("tiny", 32, 8), ("tiny", 32, 4)]
    digits(tmp_path, "sngan32", 0.064).run("stylegan2", 0, 8)
    assert scored[-1] == ("sngan32", 64, 8)
    folders = sorted(path.name for path in (tmp_path / "work" / "digits" / "runs").iterdir())
    assert folders == [
        "stylegan2-sngan32-0.064kimg-seed0",
        "stylegan2-tiny-0.032kimg-seed0",
        "stylegan2-tiny-0.064kimg-seed0",
    ]


def test_a_variant_with_other_options_is_trained_anew(
    tmp_path: Path, scored: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = VARIANTS["stylegan2"]
    for options in (plain.options | {"gamma": 1.0}, plain.options, plain.options):
        monkeypatch.setitem(VARIANTS, "stylegan2", Variant("", options))
        digits(tmp_path).run("stylegan2", 0, 8)
    records = read_records(tmp_path / "ablation-digits.jsonl")
    assert [r["options"].get("gamma") for r in records] == [1.0, None]


def test_the_records_of_the_repository_count_as_done(
    tmp_path: Path, scored: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "RESULTS", RESULTS)
    subject = digits(tmp_path, kimg=60)
    for variant in MAIN:
        for seed in range(3):
            assert subject.run(variant, seed, 2000) is None
    assert scored == []


def test_tables_give_means_and_deviations() -> None:
    text = section([record("dudgan", 1, 2.0), record("stylegan2", 1, 7), record("dudgan", 2, 4.0)])
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == ["stylegan2", "dudgan"]  # as in VARIANTS
    assert "| 2 | 15 | 3.0 ± 1.4 | 0.500 ± 0.000 | 0.900 ± 0.000 |" in rows[1]
    assert "| 1 | 10 | 7.0 | 0.500 | 0.900 |" in rows[0]
    assert "97.5%" in text and "a CPU, torch 2" in text
    assert spread_of([1.0], 2) == "1.00"


def test_what_does_not_compare_has_tables_of_its_own() -> None:
    one = record("dudgan", 1, 2.0)
    others = [{"count": 500}, {"trained_kimg": 2.0}, {"cfg": "cifar"}]
    text = section([one, *(one | other for other in others)])
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == 4 and all("| 1 | 10 | 2.0 |" in row for row in rows)
    assert "500 generated" in text and "2 kimg" in text and "`--cfg cifar`" in text


def test_a_seed_does_not_count_twice() -> None:
    with pytest.raises(UserError, match=r"digits.jsonl: 2 records of dudgan, seed 1, .* keep one"):
        section([record("dudgan", 1, 2.0), record("dudgan", 2, 2.0), record("dudgan", 1, 3.0)])


def test_scores_have_short_names() -> None:
    assert named_scores(record("dudgan", 0, 1.0)).keys() == {"FID", "recall", "accuracy"}


def test_the_page_is_as_the_records_say(tmp_path: Path) -> None:
    copy = tmp_path / "results.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    results = sorted(RESULTS.glob("ablation-*"))
    draw_page({path.stem: read_records(path) for path in results}, copy)
    assert copy.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    assert all(json.loads(line) for path in results for line in path.read_text().splitlines())
