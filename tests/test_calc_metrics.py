"""calc_metrics.py end to end on a tiny network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from data_helpers import labelled, png, write_zip
from network_helpers import CLASSES, complaint, exit_status, tiny_config, write_network

import calc_metrics
import dataset_tool
from dnnlib.errors import RunError
from dnnlib.files import cache_dir
from training.data.dataset import DataConfig, open_dataset
from training.snapshots import load_network

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
        "network": "net.safetensors",
        "network_digest": load_network(str(network)).digest,
        "kimg": 5,
        "precision": "fp32",
        "trunc": 1.0,
        "trunc_center": "global",
        "noise_mode": "random",
        "seed": 0,
        "labels": "data",
    }


def test_options_reach_the_record(tmp_path: Path, digits: Path) -> None:
    network = write_network(tmp_path / "net.safetensors", tiny_config(DIGITS))
    outdir = tmp_path / "new" / "scores"
    options = ("--network", network, "--data", digits, "--outdir", outdir, "--mirror")
    more = ("--trunc", 0.5, "--trunc-center", "class", "--noise-mode", "const", "--seed", 3)
    more += ("--labels", "even", "--metrics", "pr43")
    assert exit_status(calc_metrics.main, *options, *more) == 0
    (record,) = records(outdir)["pr43"]
    assert (record["num_real"], record["num_fake"], record["mirror"]) == (4, 4, True)
    told = {"trunc": 0.5, "trunc_center": "class", "noise_mode": "const", "seed": 3}
    assert record["fakes"].items() >= (told | {"labels": "even"}).items()
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


def test_classes_agree_by_name_whatever_their_order(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def scores(
        names: tuple[str, ...], numbers: tuple[int, ...], metrics: str
    ) -> tuple[dict[str, Any], str]:
        """Of seven images of the first of `numbers`, four of the second, two of the third."""
        files = labelled([numbers[kind] for kind in (0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2)], names)
        for index, name in enumerate(sorted(files.keys() - {"dataset.json"})):
            files[name] = png(index, 16, 16, 1)
        outdir = tmp_path / "-".join(names)
        data = write_zip(tmp_path / f"{outdir.name}.zip", files)
        options = ("--network", network, "--data", data, "--outdir", outdir, "--metrics", metrics)
        capsys.readouterr()
        assert exit_status(calc_metrics.main, *options, "--per-class") == 0
        found = {name: lines[0] for name, lines in records(outdir).items()}
        for record in found.values():
            del record["dataset_digest"]
        return found, capsys.readouterr().err

    ours, said = scores(CLASSES, (0, 1, 2), "kid12,intra_kid12,acc12")
    turned, said_of_turned = scores(("wild", "cat", "dog"), (1, 2, 0), "kid12,intra_kid12,acc12")
    assert turned == ours
    assert "by number" not in said + said_of_turned
    others, said = scores(("cat", "hound", "wild"), (0, 1, 2), "kid12")
    assert "go by number: class 1, 'hound', for 'dog'" in said
    assert others["kid12"]["results"] == ours["kid12"]["results"]
    named = {of["class_name"] for of in others["kid12"]["classes"]}
    assert named == {"cat", "hound", "wild"}


def test_classes_by_name_with_the_worst_first(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = write_network(tmp_path / "net.safetensors", tiny_config(DIGITS, str(digits)))
    options = ("--network", network, "--metrics", "kid60_full,acc60,intra_fid60_full")
    assert exit_status(calc_metrics.main, *options, "--per-class") == 0
    printed = capsys.readouterr().out
    found = records(tmp_path)
    for name in ("kid60_full", "intra_fid60_full"):
        (record,) = found[name]
        values = [of["results"][name] for of in record["classes"] if of["results"][name] != "NaN"]
        assert values == sorted(values, reverse=True) and len(values) > 5
        assert sorted(of["class_name"] for of in record["classes"]) == DIGITS
    assert found["kid60_full"][0]["classes"][0]["class_name"] == first_class(printed, "kid60_full")
    (record,) = found["acc60"]
    assert record["detector"] == "own-classifier"
    assert record["detector_digest"] == load_network(str(network)).digest
    correct = sum(of["results"]["acc60"] * of["num_fake"] for of in record["classes"])
    assert correct / 60 == pytest.approx(record["results"]["acc60"])


def first_class(printed: str, metric: str) -> str:
    """The class at the top of the table that has `metric`."""
    lines = printed.splitlines()
    heading = next(i for i, line in enumerate(lines) if line.startswith("class") and metric in line)
    return lines[heading + 2].split()[0]


def test_images_of_another_program(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = write_network(tmp_path / "net.safetensors", tiny_config(DIGITS, str(digits)))
    options = ("--fakes", digits, "--data", digits, "--metrics", "fid64,acc40,intra_kid64")
    options = (*options, "--judge", network, "--outdir", tmp_path / "out")
    assert exit_status(calc_metrics.main, *options) == 0
    found = records(tmp_path / "out")
    assert found["fid64"][0]["results"]["fid64"] == pytest.approx(0, abs=1e-4)
    assert len(found["intra_kid64"][0]["classes"]) == 10
    (record,) = found["acc40"]
    assert record["detector"] == "classifier"
    assert record["results"]["acc40"] == record["results"]["acc40_real"]
    digest = open_dataset(DataConfig(path=str(digits))).digest
    assert record["fakes"] == {"images": "digits.zip", "digest": digest}
    again = ("--fakes", digits, "--data", digits, "--metrics", "fid64")
    assert exit_status(calc_metrics.main, *again) == 0
    assert "not kept: give --outdir" in capsys.readouterr().out


def test_what_cannot_be_had_of_images_is_told_in_a_line(
    tmp_path: Path, digits: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*options: object, metrics: str = "pr43") -> str:
        return complaint(capsys, calc_metrics.main, "--metrics", metrics, *options)

    both, bare = ("--fakes", digits, "--data", digits), tmp_path / "bare.zip"
    write_zip(bare, {f"{i}.png": png(i, 16, 16, 1) for i in range(9)})
    rgb = write_zip(tmp_path / "rgb.zip", {"a.png": png(1, 16, 16)})
    assert "--network or --fakes, one of them" in said()
    assert "--network or --fakes, one of them" in said(*both, "--network", network)
    assert "--data: name the images" in said("--fakes", digits)
    assert "16x16 RGB, those of --data are 16x16 grey" in said("--fakes", rgb, "--data", digits)
    assert "--trunc: is about a --network" in said(*both, "--trunc", 0.7)
    assert "--noise-mode: is about a --network" in said(*both, "--noise_mode", "random")
    assert "ppl2_wend follows paths" in said(*both, metrics="ppl2_wend")
    assert "--judge: class accuracy takes a classifier" in said(*both, metrics="acc9")
    assert "tells cat, dog, wild apart" in said(*both, "--judge", network, metrics="acc9")
    assert "--per-class: the data has no classes" in said(
        "--fakes", bare, "--data", bare, "--per-class"
    )
    assert "intra_fid9: the images of --fakes have no classes" in said(
        "--fakes", bare, "--data", digits, metrics="intra_fid9"
    )
    assert "is20 is about classes, which efficientnet-lite0" in said(*both, metrics="is20")


def test_a_network_without_classifier_has_no_class_accuracy(
    tmp_path: Path, unconditional: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {f"{i}.png": png(i, 8, 16) for i in range(9)}
    data = write_zip(tmp_path / "rgb.zip", names)
    options = ("--network", unconditional, "--data", data, "--outdir", tmp_path / "out")
    said = complaint(capsys, calc_metrics.main, *options, "--metrics", "acc5")
    assert "acc5: the data has no classes" in said
    assert exit_status(calc_metrics.main, *options, "--metrics", "pr43,kid9") == 0


def test_processes_of_a_machine_share_the_work(tmp_path: Path, digits: Path) -> None:
    network = write_network(tmp_path / "net.safetensors", tiny_config(DIGITS, str(digits)))
    options = ("--network", network, "--metrics", "fid20,kid20,pr203", "--device", "cpu")
    for gpus in (1, 2):
        assert exit_status(calc_metrics.main, *options, "--gpus", gpus, "--batch", 4) == 0
        shutil.rmtree(cache_dir())
    for first, second in records(tmp_path).values():
        assert second["results"] == pytest.approx(first["results"], rel=1e-6)
        assert second["fakes"] == first["fakes"]


def test_a_metric_that_fails_is_told_after_the_others(
    tmp_path: Path,
    digits: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_precision(*samples: object) -> tuple[float, float]:
        raise RunError("memory ran out")

    monkeypatch.setattr("metrics.precision_recall.precision_recall", no_precision)
    options = ("--fakes", digits, "--data", digits, "--outdir", tmp_path / "out")
    said = (*options, "--metrics", "pr403,kid40,pr303")
    assert exit_status(calc_metrics.main, *said) == 1
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1] == "Error: memory ran out"
    assert "pr303 failed (RunError: memory ran out)" in shown.err
    assert "kid40 " in shown.out and set(records(tmp_path / "out")) == {"kid40"}
