"""calc_metrics.py end to end on a tiny network, and what it hands to the metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from data_helpers import png, write_zip
from network_helpers import complaint, exit_status, tiny_config, write_network

import calc_metrics
import dataset_tool
from dnnlib.files import cache_dir
from training.data.dataset import DataConfig, open_dataset
from training.snapshots import load_network
from training.synthesis import DatasetImages, GeneratedImages, StyleConfig, Synthesizer

pytest_plugins = ["network_fixtures"]

DIGITS = [str(digit) for digit in range(10)]
METRICS = ("fid64_full", "kid64_full", "pr643_full")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 digits of 16x16 pixels."""
    dest = tmp_path_factory.mktemp("digits") / "digits.zip"
    source = ("--source", "builtin:mnist5k", "--resolution", 16, "--max-images", 64)
    assert exit_status(dataset_tool.main, *source, "--dest", dest, "--workers", 1) == 0
    return dest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))


def records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Records by metric that lie in a folder, without their time."""
    return {
        path.stem.removeprefix("metric-"): [
            {key: value for key, value in json.loads(line).items() if key != "seconds"}
            for line in path.read_text().splitlines()
        ]
        for path in sorted(folder.glob("metric-*.jsonl"))
    }


def test_scores_are_printed_kept_and_repeatable(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = write_network(tmp_path / "run" / "net.safetensors", tiny_config(DIGITS, str(digits)))
    options = ("--metrics", ",".join(METRICS), "--network", network, "--device", "cpu")
    assert exit_status(calc_metrics.main, *options) == 0
    printed = capsys.readouterr().out
    names = [*METRICS[:2], "pr643_full_precision", "pr643_full_recall"]
    assert [line.split()[0] for line in printed.splitlines()[1:5]] == names
    (features,) = (cache_dir() / "features").iterdir()
    written = features.stat().st_mtime_ns
    assert exit_status(calc_metrics.main, *options) == 0
    found = records(tmp_path / "run")
    assert set(found) == set(METRICS)
    assert all(len(lines) == 2 and lines[0] == lines[1] for lines in found.values())
    assert [features] == list((cache_dir() / "features").iterdir())
    assert features.stat().st_mtime_ns == written
    record = found["fid64_full"][0]
    assert (record["num_real"], record["num_fake"], record["mirror"]) == (64, 64, False)
    assert record["dataset_digest"] == open_dataset(DataConfig(path=str(digits))).digest
    assert record["fakes"] == {
        "network": load_network(str(network)).digest,
        "kimg": 5,
        "trunc": 1.0,
        "trunc_center": "global",
        "noise_mode": "random",
        "seed": 0,
    }


def test_options_reach_the_record(tmp_path: Path, digits: Path) -> None:
    network = write_network(tmp_path / "net.safetensors", tiny_config(DIGITS))
    outdir = tmp_path / "new" / "scores"
    options = ("--network", network, "--data", digits, "--outdir", outdir, "--mirror")
    more = ("--trunc", 0.5, "--seed", 3, "--metrics", "pr43")
    assert exit_status(calc_metrics.main, *options, *more) == 0
    (record,) = records(outdir)["pr43"]
    assert (record["num_real"], record["num_fake"], record["mirror"]) == (4, 4, True)
    assert (record["fakes"]["trunc"], record["fakes"]["seed"]) == (0.5, 3)
    assert not records(tmp_path)


@pytest.mark.parametrize(("typed", "mirrored"), [((), True), (("--mirror=no",), False)])
def test_data_and_mirroring_follow_the_network(
    tmp_path: Path, digits: Path, typed: tuple[str, ...], mirrored: bool
) -> None:
    config = tiny_config(DIGITS, str(digits))
    data = config.data.model_copy(update={"mirror": True, "subset": 20})
    network = tmp_path / "net.safetensors"
    write_network(network, config.model_copy(update={"data": data}))
    options = ("--network", network, "--metrics", "pr43_full", *typed)
    assert exit_status(calc_metrics.main, *options) == 0
    (record,) = records(tmp_path)["pr43_full"]
    assert (record["num_real"], record["mirror"]) == (40 if mirrored else 20, mirrored)


def test_generated_images_follow_labels_and_seed(network: Path) -> None:
    generator = load_network(str(network)).generator
    synthesizer = Synthesizer(generator, StyleConfig(trunc=0, trunc_center="class"))
    labels = torch.tensor([2] * 9 + [0])
    first = GeneratedImages(synthesizer, labels, 0, {"network": "x"})
    images = torch.cat(list(first.batches(40, 16)))
    assert images.dtype == torch.uint8 and images.shape == (40, 1, 16, 16)
    again = torch.cat(list(first.batches(33, 7)))
    assert (again.int() - images[:33].int()).abs().max() <= 1
    # Truncated to their class's centre there are as many pictures as classes in the labels.
    centers = synthesizer.pictures([0, 0, 0], torch.arange(3))
    of_class = (images[:, None] != centers).float().mean(dim=[2, 3, 4]).argmin(dim=1)
    counts = torch.bincount(of_class, minlength=3).tolist()
    assert counts[1] == 0 and 0 < counts[0] < 12
    other = GeneratedImages(synthesizer, labels, 1, {})
    assert not torch.equal(torch.cat(list(other.batches(40, 16))), images)


def test_real_images_come_as_asked(digits: Path) -> None:
    dataset = open_dataset(DataConfig(path=str(digits), mirror=True))
    reals = DatasetImages(dataset)
    assert (reals.num_images, reals.mirror, reals.digest) == (128, True, dataset.digest)
    batches = list(reals.batches([5, 100, 0, 127, 5], 2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    expected = torch.stack([dataset[index][0] for index in (5, 100, 0, 127, 5)])
    assert torch.equal(torch.cat(batches), expected)


def test_wrong_input_is_told_in_a_line(
    tmp_path: Path, digits: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(source: Path, *options: object, metrics: str = "pr43") -> str:
        where = ("--network", source, "--metrics", metrics, "--outdir", tmp_path / "out")
        return complaint(capsys, calc_metrics.main, *where, *options)

    images = [f"{name}/{i}.png" for name in ("a", "b", "c") for i in range(2)]
    rgb = write_zip(tmp_path / "rgb.zip", {name: png(1, 16, 16) for name in images})
    bare = write_zip(tmp_path / "bare.zip", {"a.png": png(1, 16, 16, 1)})
    ten = write_network(tmp_path / "ten.safetensors", tiny_config(DIGITS, str(digits)))
    assert "no-such-data.zip, which is not there" in said(network)
    assert "there is no such file" in said(network, "--data", tmp_path / "none")
    assert "16x16 RGB, the network makes 16x16 grey" in said(network, "--data", rgb)
    assert "has 10 classes, the network has 3" in said(network, "--data", digits)
    assert "has no classes, the network has 3" in said(network, "--data", bare)
    assert "there is no 'fid'" in said(ten, metrics="fid")
    assert "separated by commas" in said(ten, metrics="pr43,")
    assert "no such file" in said(tmp_path / "none")
    assert "there is no 'vgg'; choose from" in said(ten, "--detector", "vgg")
    assert "put pt_inception" in said(ten, "--detector", "inception")
    assert "is not a state dict" in said(ten, "--detector", digits)
    assert "not a valid boolean" in said(ten, "--mirror", "perhaps")
    assert not (tmp_path / "out").exists()
    assert "cannot be made" in complaint(
        capsys, calc_metrics.main, "--network", ten, "--metrics", "pr43", "--outdir", rgb
    )
