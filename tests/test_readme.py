"""The commands of the README do what it says."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dnnlib.cli import run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The same commands on less: the last of a repeated option counts.
SMALLER = {
    "dataset_tool": "--resolution 16",
    "train": "--cfg tiny --kimg 0.032 --batch 8 --tick 0.016 --snap 1 --device cpu",
    "generate": "--seeds 0-1",
    "interpolation": "--seconds 0.2 --fps 10",
    "calc_metrics": "--metrics fid32_full,kid32_full,pr323_full",
}


def readme_commands() -> list[list[str]]:
    """Every `python SCRIPT.py ...` line of the README's bash blocks, in order."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("python ")]


def draw_flowers(folder: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("daisy", "rose"):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def smaller(arguments: list[str], script: str) -> list[str]:
    extra = shlex.split(SMALLER[script])
    if script == "dataset_tool" and "--check" in arguments:
        return arguments
    if script == "generate" and "--list-classes" in arguments:
        return arguments
    return [*arguments, *extra]


def test_every_command_runs_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))
    draw_flowers(tmp_path / "flowers")
    commands = readme_commands()
    assert {Path(words[1]).stem for words in commands} == set(SMALLER)
    for _, file, *arguments in commands:
        script = Path(file).stem
        words = [
            next(str(path) for path in Path("runs").iterdir()) if word == "NETWORK" else word
            for word in smaller(arguments, script)
        ]
        with pytest.raises(SystemExit) as ended:
            run(importlib.import_module(script).main, words)
        assert ended.value.code == 0, f"{script} {words}: {capsys.readouterr().err}"
    for result in ("data/flowers64.zip", "out/images", "out/grid/grid.png", "out/video"):
        assert Path(result).exists(), result


def test_the_files_that_the_readme_points_to_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def test_the_make_targets_that_the_readme_names_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)$", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
