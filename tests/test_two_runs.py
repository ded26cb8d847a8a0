"""Two processes at one place at once: each gets what it came for, and neither harms the other."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
from bad_inputs.processes import FEATURES, at_once, conversion, measurement, small_data, small_run
from training_helpers import CPU, small_config

from dnnlib import UserError
from dnnlib.files import FileLock, create_run_dir
from torch_utils.checkpoint import load_state
from training.data.archive import ImageArchive
from training.runs import OPTIONS_FILE, continue_run, open_run
from training.snapshots import load_network, network_snapshots


def make_folders(outdir: Path, name: str) -> None:
    for _ in range(20):
        create_run_dir(outdir, name)


def test_run_folders_of_other_names_get_other_numbers(tmp_path: Path) -> None:
    assert at_once([partial(make_folders, tmp_path / "runs", name) for name in "abcd"]) == [0] * 4
    numbers = sorted(int(path.name[:5]) for path in (tmp_path / "runs").iterdir())
    assert numbers == list(range(80))


def test_the_same_command_twice_makes_two_runs_that_both_finish(tmp_path: Path) -> None:
    data, outdir = small_data(tmp_path / "data.zip"), tmp_path / "runs"
    assert at_once([partial(small_run, outdir, data, 0.16)] * 2) == [0, 0]
    runs = sorted(outdir.iterdir())
    assert [run.name[:5] for run in runs] == ["00000", "00001"]
    for run in runs:
        assert load_network(str(run)).nimg == 160
        assert len((run / "stats.jsonl").read_text().splitlines()) == 5
        assert load_state(run / "training-state.pt", CPU)["nimg"] == 160
        assert not list(run.glob(".*"))
    first, second = (network_snapshots(run)[-1].read_bytes() for run in runs)
    assert first == second


def test_a_run_at_work_is_left_alone(tmp_path: Path) -> None:
    """The same command begins another run; --resume is refused."""
    config = small_config()
    first = open_run(config, tmp_path, None, CPU)
    assert open_run(config, tmp_path, None, CPU).path.name[:5] == "00001"
    with pytest.raises(UserError, match=r"--resume .*00000.*: another process is at work there"):
        continue_run(config, first.path, CPU)
    assert first.lock is not None
    first.lock.release()
    assert continue_run(config, first.path, CPU).path == first.path


@pytest.mark.parametrize("content", [b"", b"\xff", b'{"preset": "of another version"}'])
def test_a_run_folder_that_cannot_be_read_is_in_nobodys_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    ours = open_run(small_config(), tmp_path, None, CPU)
    torn = create_run_dir(tmp_path, ours.path.name[6:])
    (torn / OPTIONS_FILE).write_bytes(content)
    assert ours.lock is not None
    ours.lock.release()
    caplog.set_level("INFO")
    assert open_run(small_config(), tmp_path, None, CPU).path == ours.path
    assert f"{torn}: not looked at, its settings cannot be read" in caplog.text
    with pytest.raises(UserError, match=OPTIONS_FILE):
        continue_run(small_config(), torn, CPU)


def test_a_forked_process_does_not_hold_a_lock(tmp_path: Path) -> None:
    """Else a killed run's data workers would keep its own successor out."""
    lock = FileLock(tmp_path / "file")
    assert lock.held and not FileLock(tmp_path / "file").held
    (forked, told), (begun, end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(told, b"1")
        os.close(end)
        os.read(begun, 1)  # until the parent is done
        os._exit(0)
    os.read(forked, 1)
    lock.release()
    assert FileLock(tmp_path / "file").held
    for descriptor in (forked, told, begun, end):
        os.close(descriptor)
    os.waitpid(child, 0)


def test_two_conversions_to_one_place(tmp_path: Path) -> None:
    """One of them does it, the other says so."""
    dest = tmp_path / "digits" / "data.zip"
    dest.parent.mkdir()
    assert sorted(map(str, at_once([partial(conversion, dest)] * 2))) == ["0", "2"]
    assert len(ImageArchive(dest)) == 1000
    assert [path.name for path in dest.parent.iterdir()] == ["data.zip"]


def test_two_measurements_with_one_cache(tmp_path: Path) -> None:
    data = small_data(tmp_path / "data.zip", count=40)
    (tmp_path / "own.py").write_text(FEATURES)
    work = partial(measurement, data, tmp_path / "scores", tmp_path / "cache")
    assert at_once([work] * 3) == [0] * 3
    lines = (tmp_path / "scores" / "metric-kid50_full.jsonl").read_text().splitlines()
    results = [json.loads(line)["results"] for line in lines]
    assert len(results) == 3 and results[0] == results[1] == results[2]
    (features,) = (tmp_path / "cache" / "features").iterdir()
    assert features.suffix == ".safetensors"
