"""docs/networks.md and docs/styles.md: their commands do what they say."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import DATA
from network_helpers import exit_status, tiny_config, write_network
from picture_helpers import made

DOCS = Path(__file__).parent.parent / "docs"
SMALLER = {"projector": ["--steps", "2"]}


def run_commands(document: str, network: Path) -> None:
    """Every line of the bash blocks in order; those of export.py are only parsed, they are slow."""
    text = (DOCS / document).read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    for line in "".join(blocks).splitlines():
        program, file, *words = shlex.split(line)
        assert program == "python"
        script = Path(file).stem
        arguments = [{"NETWORK": str(network)}.get(word, word) for word in words]
        main = importlib.import_module(script).main
        if script == "export":
            main.make_context(script, arguments)
        else:
            assert exit_status(main, *arguments, *SMALLER.get(script, [])) == 0, line


def test_commands_of_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(DATA / "legacy_stylegan2ada.pkl", "PUBLISHED.pkl")
    run_commands("networks.md", tmp_path / "unused")
    assert len(list(Path("out/published").glob("seed*.png"))) == 8


def test_commands_of_styles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny_config(["rose", "daisy"], num_channels=3)
    network = write_network(tmp_path / "flowers.safetensors", config)
    made(tmp_path / "made", network, "--seeds", 0, "--class", "rose", "--format", "jpg")
    shutil.copy("made/seed0000-rose.jpg", "photo.jpg")
    run_commands("styles.md", network)
    assert Path("out/mixed/grid.png").is_file()
    assert len(list(Path("out/classes").glob("*_*.png"))) == 2 * 4
    assert Path("out/again/projected_w-0000.png").is_file()
