"""docs/dual-diffusion.md names what exists, and its examples run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import dataset_tool
import train
from benchmarks import supports
from training.study import __main__ as study

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "dual-diffusion.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS: dict[str, click.Command] = {
    "dataset_tool.py": dataset_tool.main,
    "train.py": train.main,
    "training.study": study.main,
    "benchmarks.supports": supports.main,
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_examples_run(code: str) -> None:
    exec(compile(code, str(PAGE), "exec"), {})


@pytest.mark.parametrize("line", [x for block in blocks("bash") for x in block.splitlines() if x])
def test_commands_are_understood(line: str) -> None:
    python, *words = shlex.split(line)
    assert python == "python"
    script, *arguments = words[1:] if words[0] == "-m" else words
    COMMANDS[script].make_context(script, arguments)


def test_options_exist() -> None:
    known = {
        option.replace("_", "-")
        for command in COMMANDS.values()
        for parameter in command.params
        for option in parameter.opts
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", TEXT))
    assert named - known == set()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        page = PAGE.parent / path if path else PAGE
        assert page.is_file(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]
            assert heading in anchors, target


def test_functions_are_where_the_page_says() -> None:
    pattern = (
        r"→\s+`([\w.]+)`(?:\s+for\s+D,\s+`([\w.]+)`\s+for\s+C,)?\s+in\s+\[[\w/.]+\]\(([\w/.-]+)\)"
    )
    found = re.findall(pattern, TEXT)
    assert len(found) >= 8
    for first, second, file in found:
        code = (PAGE.parent / file).read_text(encoding="utf-8")
        for name in filter(None, (first, second)):
            for part in name.split("."):
                assert re.search(rf"\b(def|class) {part}\b", code), f"{name} in {file}"


def test_pictures_are_small_and_all_shown() -> None:
    folder = PAGE.parent / "images" / "dual-diffusion"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 400_000
    for path in folder.iterdir():
        assert f"images/dual-diffusion/{path.name}" in TEXT, path.name
