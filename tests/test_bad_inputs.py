"""What hostile and clumsy users type: one line that says what to do, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from bad_inputs.places import make_places
from bad_inputs.row import Row, read_rows
from network_helpers import exit_status

import calc_metrics
import convert
import dataset_tool
import explore
import export
import generate
import interpolation
import projector
import style_mixing
import train

SCRIPTS: Mapping[str, click.Command] = {
    "train": train.main,
    "generate": generate.main,
    "interpolation": interpolation.main,
    "style_mixing": style_mixing.main,
    "projector": projector.main,
    "calc_metrics": calc_metrics.main,
    "dataset_tool": dataset_tool.main,
    "convert": convert.main,
    "export": export.main,
    "explore": explore.main,
}
ROWS = read_rows()
ROOT = Path(train.__file__).parent
FULL = Path("/dev/full")  # no byte can be written to it


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_places(tmp_path_factory.mktemp("places"))


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of all that is in a folder."""
    found = {str(path): path.lstat() for path in folder.rglob("*")}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in found.items()}


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_wrong_input_is_told_in_a_line_and_leaves_nothing(
    row: Row,
    files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))
    before, out = stamps(files), tmp_path / "out"
    assert exit_status(SCRIPTS[row.script], *row.arguments(files, out)) == 2
    *warnings, last = capsys.readouterr().err.splitlines()
    assert all(line.startswith("Warning: ") for line in warnings)
    assert last.startswith("Error: ") and last.isprintable()
    assert row.is_in(last, files, out), last
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert stamps(files) == before


def test_a_script_of_its_own_ends_so_too(files: Path, tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "convert.py", files / "evil.pkl", "a\x1b[2J\nb.safetensors"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "refused, it asks for 'builtins.print'" in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not FULL.exists(), reason=f"no {FULL}")
def test_output_that_is_full_is_told(files: Path) -> None:
    network = files / "net.safetensors"
    command = [sys.executable, ROOT / "generate.py", "--network", network, "--list-classes"]
    with FULL.open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr == "Error: the output: No space left on device; check the path and the disk\n"
    )
