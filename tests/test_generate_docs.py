"""The commands of docs/pictures.md do what it says."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
from network_helpers import exit_status, tiny_config, write_network

DOCS = (Path(__file__).parent.parent / "docs" / "pictures.md").read_text(encoding="utf-8")
SMALLER = {"generate": "", "interpolation": "--seconds 0.2 --fps 10"}


def commands() -> list[list[str]]:
    """Every `python SCRIPT.py ...` line of the bash blocks, in order."""
    blocks = re.findall(r"```bash\n(.*?)```", DOCS, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line]


def test_every_command_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = write_network(
        tmp_path / "flowers.safetensors", tiny_config(["rose", "daisy"], num_channels=3)
    )
    for program, file, *words in commands():
        assert program == "python"
        script = Path(file).stem
        known = {"NETWORK": str(network), "50000": "50"}
        arguments = [known.get(word, word) for word in words] + shlex.split(SMALLER[script])
        assert exit_status(importlib.import_module(script).main, *arguments) == 0, words
    results = {path.relative_to("out").as_posix() for path in Path("out").rglob("*")}
    assert results >= {
        "roses/seed0077-rose.png",
        "grid/grid.png",
        "mixed/seed0007-rose-0.5_daisy-0.5.png",
        "again/seed0003-rose-0000.png",
        "fakes.zip",
        "chain/interpolation-rose-daisy-rose.mp4",
        "chain/interpolation-rose-daisy-rose-strip.png",
        "latents/interpolation-rose-seed0000-seed0001-and2.webp",
        "both/interpolation-rose-daisy.gif",
    }
