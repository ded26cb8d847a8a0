"""train.py end to end: the files of a run, the same command again, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from data_helpers import labelled, png, write_zip
from network_helpers import complaint, exit_status
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import dataset_tool
import train
from torch_utils.checkpoint import load_state, load_tensors
from training.config import TrainingConfig
from training.snapshots import load_network

SMALL = ("--cfg", "tiny", "--batch", 8, "--tick", 0.032, "--snap", 1, "--device", "cpu")
NETWORK = "network-snapshot-000000.safetensors"
OPTIONS = """
    --outdir --data --cfg --device --cond --subset --mirror --resume --exp-id -n --dry-run
    --seed --kimg --batch --batch-gpu --lr --lr-c --gamma --t-embed --noise-model --noise-sd
    --noise-sd-c --beta-schedule --beta-start --beta-end --t-min --t-max --t-max-c --ts-dist
    --target --ada-kimg --ramp-c --classifier --lambda-g --lambda-c --label-g
    --contrast-g --contrast-c --temperature --tick --snap --metrics --workers
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two digits of each class, 8x8."""
    dest = tmp_path_factory.mktemp("data") / "digits.zip"
    options = ("--resolution", 8, "--max-per-class", 2, "--workers", 1)
    assert (
        exit_status(dataset_tool.main, "--source", "builtin:mnist5k", "--dest", dest, *options) == 0
    )
    return dest


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """A folder of runs with a finished one; not to be written to."""
    outdir = tmp_path_factory.mktemp("finished")
    assert exit_status(train.main, *command(outdir, digits)) == 0
    return outdir


def command(outdir: Path, data: Path, *options: object, kimg: float = 0.064) -> tuple[object, ...]:
    return ("--outdir", outdir, "--data", data, *SMALL, "--kimg", kimg, *options)


def only_run(outdir: Path) -> Path:
    (run_dir,) = outdir.iterdir()
    return run_dir


def contents(run_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run_dir.iterdir()}


def stats(run_dir: Path) -> list[dict[str, Any]]:
    """Lines of stats.jsonl as strict JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    lines = (run_dir / "stats.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def test_a_run_leaves_its_files_and_no_others(finished: Path) -> None:
    run_dir = only_run(finished)
    assert run_dir.name == "00000-digits-cond-tiny-batch8"
    names = sorted(path.name for path in run_dir.iterdir())
    assert names.pop(0).startswith("events.out.tfevents.")
    assert names == [
        *("fakes000000.png", "fakes_init.png", "log.txt", NETWORK, "noise000000.png", "reals.png"),
        *("report.html", "stats.jsonl", "training-state.pt", "training-state.pt.previous"),
        "training_options.json",
    ]


def test_statistics_have_a_line_each_tick(finished: Path) -> None:
    lines = stats(only_run(finished))
    assert [(line["kimg"], line["step"]) for line in lines] == [(0.032, 4), (0.064, 8)]
    expected = {
        *("Loss/G/adversarial", "Loss/G/contrastive", "Loss/D/adversarial"),
        *("Loss/C/contrastive", "Loss/C/label", "Accuracy/C/real", "Signs/real", "Signs/fake"),
        *("T_D", "T_C", "p_D", "p_C", "Gradients/replaced"),
        *("Timing/seconds", "Timing/sec_per_kimg", "Resources/peak_memory_gib"),
    }
    assert all(expected <= line.keys() for line in lines)
    assert "Loss/D/r1" in lines[0]
    assert lines[-1]["T_C"] == 300 and lines[-1]["p_C"] == 1


def test_log_and_tensorboard_tell_what_the_statistics_tell(finished: Path) -> None:
    run_dir = only_run(finished)
    assert (run_dir / "log.txt").read_text().count("s/kimg") == 2
    events = EventAccumulator(str(run_dir))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("Loss/C/label")]
    lines = stats(run_dir)
    assert written == [
        (32, pytest.approx(lines[0]["Loss/C/label"])),
        (64, pytest.approx(lines[1]["Loss/C/label"])),
    ]


def test_pictures_have_a_row_for_each_class(finished: Path) -> None:
    run_dir = only_run(finished)
    sizes = {}
    for name in ("reals", "fakes_init", "fakes000000", "noise000000"):
        with Image.open(run_dir / f"{name}.png") as picture:
            sizes[name] = picture.size
    assert sizes["reals"] == sizes["fakes_init"] == sizes["fakes000000"]
    assert sizes["reals"][1] == 10 * 32  # each image is enlarged to 32 pixels
    assert 12 * 32 < sizes["reals"][0] < 14 * 32  # twelve images and a caption
    assert sizes["noise000000"][1] == 6 * 32  # three images each for D and C


def test_network_and_options_say_how_they_came_about(finished: Path, digits: Path) -> None:
    run_dir = only_run(finished)
    network = load_network(str(run_dir))
    options = (run_dir / "training_options.json").read_text()
    assert network.config == TrainingConfig.from_json(options, "options")
    assert network.nimg == 64
    assert network.facts.class_names == tuple("0123456789")
    assert network.config.data.path == str(digits)
    state = load_state(run_dir / "training-state.pt", torch.device("cpu"))
    assert (state["nimg"], state["step"]) == (64, 8)


def test_the_same_command_again_changes_nothing(
    tmp_path: Path, finished: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    assert exit_status(train.main, *command(tmp_path, digits)) == 0
    assert "finished already" in capsys.readouterr().out
    assert contents(only_run(tmp_path)) == contents(only_run(finished))


def test_a_longer_run_continues_in_the_same_folder(
    tmp_path: Path, finished: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    assert exit_status(train.main, *command(tmp_path, digits, kimg=0.08)) == 0
    run_dir = only_run(tmp_path)
    assert f"Continuing {run_dir}" in capsys.readouterr().out
    assert stats(run_dir)[:2] == stats(only_run(finished))
    assert [line["kimg"] for line in stats(run_dir)[2:]] == [0.08]
    assert load_network(str(run_dir)).nimg == 80
    assert json.loads((run_dir / "training_options.json").read_text())["run"]["kimg"] == 0.08
    before = contents(only_run(finished))
    assert all(contents(run_dir)[name] == before[name] for name in ("reals.png", "fakes_init.png"))


def test_resume_alone_continues_with_what_may_change(tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    run_dir = only_run(tmp_path)
    assert exit_status(train.main, "--resume", run_dir, "--kimg", 0.072, "--snap", 5) == 0
    network = load_network(str(run_dir))
    assert network.nimg == 72
    assert (network.config.run.kimg, network.config.run.snap) == (0.072, 5)


def test_other_settings_begin_another_run(tmp_path: Path, finished: Path, digits: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    assert exit_status(train.main, *command(tmp_path, digits, "--gamma", 3, kimg=0.008)) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["00000-digits-cond-tiny-batch8", "00001-digits-cond-tiny-batch8"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data", "DATA", *SMALL, "--gamma", 3), "losses.r1_gamma: 0.1 -> 3.0"),
        (("--data", "DATA", *SMALL, "--mirror", 1), "data.mirror: False -> True"),
        (("--gamma", 3), "--gamma: a run that is resumed keeps its settings"),
        (("--cfg", "cifar"), "--cfg: a run that is resumed keeps its settings"),
        (("--cond", "false"), "--cond: a run that is resumed keeps its settings"),
        (("--tick", -1), "--tick: Input should be greater than 0, found -1.0"),
        (("--metrics", "fid"), "--metrics: there is no 'fid'"),
        (("--metrics", "fid5k,is5k"), "is5k is about classes, which efficientnet-lite0 does not"),
    ],
)
def test_what_a_resumed_run_cannot_change_is_named(
    tmp_path: Path,
    finished: Path,
    digits: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[object, ...],
    said: str,
) -> None:
    run_dir = shutil.copytree(only_run(finished), tmp_path / "run")
    given = [digits if option == "DATA" else option for option in options]
    assert said in complaint(capsys, train.main, "--resume", run_dir, *given)
    assert contents(run_dir) == contents(only_run(finished))


def test_resuming_on_other_data_is_refused(
    tmp_path: Path, finished: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = shutil.copytree(only_run(finished), tmp_path / "run")
    options = json.loads((run_dir / "training_options.json").read_text())
    options["data"]["path"] = str(write_zip(tmp_path / "other.zip", labelled([0, 1])))
    (run_dir / "training_options.json").write_text(json.dumps(options))
    line = complaint(capsys, train.main, "--resume", run_dir)
    assert "other.zip is not the data it was trained on" in line
    assert "not a run folder" in complaint(capsys, train.main, "--resume", tmp_path)


def test_dry_run_shows_the_config_and_writes_nothing(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(train.main, *command(tmp_path / "runs", digits, "--dry-run")) == 0
    printed = capsys.readouterr().out
    assert "10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)" in printed
    config = printed[printed.index("{") : printed.rindex("}") + 1]
    assert TrainingConfig.from_json(config, "printed").batch == 8
    assert not (tmp_path / "runs").exists()


def test_classes_can_be_left_out(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--cond=false", "--mirror=yes", "--subset=10", "--exp-id", "x.1")
    assert exit_status(train.main, *command(tmp_path, digits, *options, kimg=0.008)) == 0
    run_dir = only_run(tmp_path)
    assert run_dir.name == "00000-digits-uncond-tiny-batch8-mirror-subset10-x.1"
    assert "no classes: training is unconditional" in capsys.readouterr().out
    network = load_network(str(run_dir))
    assert network.players.C is None
    assert (network.facts.num_classes, network.facts.num_images) == (0, 20)
    assert not any(name.startswith("C.") for name in load_tensors(run_dir / NETWORK)[0])


BRIGHTNESS = """
import torch

class Brightness:
    name, digest, resize, precision, num_features = "brightness", "0" * 64, "none", "fp32", 3

    def __init__(self, device):
        pass

    def __call__(self, images):
        return images.float().mean(dim=(1, 2, 3))[:, None] + torch.rand(len(images), 3)
"""


def test_metrics_are_scored_at_each_snapshot_and_keep_the_best(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "own.py").write_text(BRIGHTNESS)  # features that cost nothing
    outdir = tmp_path / "runs"
    options = ("--metrics", "kid20_full,pr203_full", "--detector", f"{tmp_path}/own.py:Brightness")
    assert exit_status(train.main, *command(outdir, digits, *options)) == 0
    run_dir = only_run(outdir)
    for name in ("kid20_full", "pr203_full"):
        records = (run_dir / f"metric-{name}.jsonl").read_text().splitlines()
        assert [json.loads(line)["fakes"]["network"] for line in records] == [NETWORK, NETWORK]
    assert (run_dir / "network-best.safetensors").is_file()
    events = EventAccumulator(str(run_dir))
    events.Reload()
    assert len(events.Scalars("Metrics/pr203_full_recall")) == 2


def labelless(size: int = 8) -> dict[str, bytes]:
    return {f"{index}.png": png(index, size, size) for index in range(4)}


BAD_DATA: Mapping[str, Mapping[str, bytes]] = {
    "empty.zip": {},
    "odd.zip": labelless(17),
    "plain.zip": labelless(),
    "gap.zip": labelled([0, 2], ["a", "b", "c"]),
}


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ("none.zip", (), "none.zip: "),
        ("empty.zip", (), "empty.zip: holds no image"),
        ("odd.zip", (), "resolution 17x17: each side must be"),
        ("plain.zip", ("--cond=true",), "--cond asks for classes, but the data has no labels"),
        ("gap.zip", (), "1 of 3 classes have no image, the first is 'b'"),
        ("plain.zip", ("--batch-gpu", 3), "batch must be a multiple of batch_gpu (3)"),
        ("plain.zip", ("--cfg", "huge"), "'huge' is not one of"),
        ("plain.zip", ("--gamma=-1",), "--gamma: Input should be greater than or equal to 0"),
        ("plain.zip", ("--gamma=nan",), "--gamma: Input should be a finite number"),
        ("plain.zip", ("--kimg=inf",), "--kimg: Input should be a finite number"),
        ("plain.zip", ("--batch=0",), "--batch: "),
        ("plain.zip", ("--subset=0",), "--subset"),
        ("plain.zip", ("--mirror=perhaps",), "'perhaps' is not a valid boolean"),
        ("plain.zip", ("--metrics=fid50k_full,nonsense",), "--metrics: there is no 'nonsense'"),
        ("plain.zip", ("--exp-id=../x",), "--exp-id ../x: becomes part of a folder's name"),
        ("plain.zip", ("--device=tpu",), "'tpu' is not one of"),
        ("plain.zip", ("--no-such-option",), "--no-such-option"),
        ("plain.zip", ("extra",), "unexpected extra argument"),
    ],
)
def test_wrong_input_is_told_in_a_line_before_anything_is_written(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    data: str,
    options: tuple[object, ...],
    said: str,
) -> None:
    if data in BAD_DATA:
        write_zip(tmp_path / data, BAD_DATA[data])
    outdir = tmp_path / "runs"
    assert said in complaint(capsys, train.main, *command(outdir, tmp_path / data, *options))
    assert not outdir.exists()


def test_places_that_are_missing_or_unfit_are_named(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--data: name the images" in complaint(capsys, train.main, "--outdir", tmp_path)
    assert "--outdir: name the folder" in complaint(capsys, train.main, "--data", digits, *SMALL)
    line = complaint(capsys, train.main, *command(digits, digits))
    assert f"{digits}: no run folder can be made there" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_device_that_is_not_there_is_refused(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint(capsys, train.main, *command(tmp_path / "x", digits, "--device", "cuda"))
    assert "--device cuda: torch finds none" in line
    assert not (tmp_path / "x").exists()


def test_no_option_disappears() -> None:
    there = {name for parameter in train.main.params for name in parameter.opts}
    assert set(OPTIONS.split()) - there == set()
