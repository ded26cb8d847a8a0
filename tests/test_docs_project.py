"""Files about the project agree with each other: versions, packages, what the pages repeat."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docs_commands import PAGES, ROOT, text_of

from benchmarks import map_page, options_page
from benchmarks.options_page import load_command, rows_of
from benchmarks.pages import replace_tables
from training.options import TrainOptions

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


# Where it is built for CUDA.
CHOSEN_BY_TORCH = {"cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"}


def pinned(name: str) -> dict[str, str]:
    """Versions by package of a file of requirements, without those of the file it begins with."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    without_markers = [line.partition(";")[0] for line in lines if not line.startswith("#")]
    return dict(line.split("==") for line in without_markers if "==" in line)


def packages(requirements: list[str]) -> set[str]:
    """Names without versions and extras."""
    return {re.split(r"[\[<>=!]", line)[0] for line in requirements} - {PROJECT["name"]}


@pytest.mark.parametrize("page", [options_page, map_page])
def test_pages_are_what_the_code_says(page: ModuleType, tmp_path: Path) -> None:
    text, copy = page.PAGE.read_text(encoding="utf-8"), tmp_path / page.PAGE.name
    copy.write_text(text, encoding="utf-8")
    replace_tables(copy, page.sections())
    assert copy.read_text(encoding="utf-8") == text, "run python -m benchmarks.code_pages"


def test_defaults_in_the_help_are_those_of_the_code() -> None:
    """A number, a yes or a no in brackets is what the field begins with."""
    shown = {row.flags[-1]: row.default for row in rows_of(load_command("train"))}
    for name, field in TrainOptions.model_fields.items():
        default = shown.get(f"--{name.replace('_', '-')}", "")
        if re.fullmatch(r"[\d.]+", default):
            assert float(default) == field.default, name
        elif default in ("yes", "no") and isinstance(field.default, bool):
            assert (default == "yes") == field.default, name


def test_pinned_packages_are_those_that_the_project_asks_for() -> None:
    assert packages(PROJECT["dependencies"]) == set(pinned("requirements.txt"))
    extras = PROJECT["optional-dependencies"]
    asked_for = packages([line for name in extras for line in extras[name]])
    assert asked_for == set(pinned("requirements-dev.txt")) | CHOSEN_BY_TORCH


def test_pinned_versions_are_allowed() -> None:
    versions = pinned("requirements.txt") | pinned("requirements-dev.txt")
    extras = PROJECT["optional-dependencies"].values()
    for line in [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]:
        name = re.split(r"[\[<>=!]", line)[0]
        if name in CHOSEN_BY_TORCH:
            continue
        for sign, bound in re.findall(r"(>=|<|==)([\d.]+)", line):
            found = [int(part) for part in versions[name].split(".")[:3]]
            wanted = [int(part) for part in bound.split(".")]
            width = max(len(found), len(wanted))
            found += [0] * (width - len(found))
            wanted += [0] * (width - len(wanted))
            holds = {">=": found >= wanted, "<": found < wanted, "==": found == wanted}
            assert holds[sign], line


def test_conda_installs_what_pip_installs() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    items = re.findall(r"^ +- (.*)$", text, flags=re.MULTILINE)
    channel, python, *pip = items
    assert (channel, pip) == ("conda-forge", ["pip", "pip:", "-r requirements.txt"])
    assert f"name: {PROJECT['name']}\n" in text
    lowest = PROJECT["requires-python"].removeprefix(">=3.")
    assert int(python.removeprefix("python=3.")) >= int(lowest)


def test_citation_is_of_this_project() -> None:
    """Keys that the schema of Citation File Format 1.2.0 requires, and what must agree."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    citation = dict(re.findall(r"^([\w-]+): *(.*)$", text, flags=re.MULTILINE))
    paper = dict(re.findall(r"^  ([\w-]+): *(.*)$", text, flags=re.MULTILINE))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert {"type", "title", "authors"} <= set(paper)
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert "2305.14849" in paper["url"]


def test_changelog_and_readme_know_the_versions() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased" in changelog and PROJECT["version"] in changelog
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    torch = next(line for line in PROJECT["dependencies"] if line.startswith("torch"))
    low, high = re.findall(r"2\.(\d+)", torch)
    assert f"PyTorch\n(2.{low} to 2.{int(high) - 1})" in readme


def test_pages_install_extras_from_the_checkout() -> None:
    """No package of this name is published yet."""
    name = PROJECT["name"]
    wrong = re.compile(rf"pip install [^`\n]*\b{name}\b")
    assert [page for page in PAGES if wrong.search(text_of(page))] == []
    extras = [re.findall(r"pip install -e [\"']\.\[([\w,]+)\]", text_of(page)) for page in PAGES]
    named = {extra for found in extras for line in found for extra in line.split(",")}
    assert named == set(PROJECT["optional-dependencies"]) - {"dev"}


def test_extras_are_those_that_the_readme_lists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r'pip install -e "\.\[([\w,]+)\]"', readme)
    instead = "cuda12"  # of cuda
    assert set(listed.split(",")) == set(PROJECT["optional-dependencies"]) - {"dev", instead}
    assert f"`{instead}`" in readme
