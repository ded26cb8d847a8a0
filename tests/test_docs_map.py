"""docs/map.md: every module is in it, and a training step goes the way that it tells."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from data_helpers import labelled, png, write_zip
from training_helpers import CPU, SMALL

import train
from benchmarks.pages import BEGIN, DOCS, ROOT, modules
from torch_utils.world import World
from training.launch import LaunchRequest

PAGE = (DOCS / "map.md").read_text(encoding="utf-8")
# Reached on CUDA, or with data larger than memory allows.
ELSEWHERE = {"StreamingLoader", "CapturedBackward.add"}
GIVEN = SMALL | {"cfg": "tiny", "kimg": 0.032, "tick": 0.032, "snap": 1, "pl_weight": 2.0}


def steps() -> list[tuple[str, Path]]:
    """(name, file) of every function and class that the words link to, in their order."""
    words = PAGE.partition(BEGIN)[0].partition("## The path")[2]
    links = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/]+\.py)\)", words)
    return [(name, ROOT / path) for name, path in links]


def names_in(path: Path) -> set[str]:
    """Functions, classes and methods of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    top = [node for node in tree.body if isinstance(node, kinds)]
    inner = [(a, b) for a in top if isinstance(a, ast.ClassDef) for b in a.body]
    methods = {f"{a.name}.{b.name}" for a, b in inner if isinstance(b, ast.FunctionDef)}
    return {node.name for node in top} | methods


def test_every_module_is_in_the_map() -> None:
    listed = re.findall(r"^\| \[[\w.]+\]\(\.\./([\w/]+\.py)\)", PAGE, flags=re.MULTILINE)
    assert sorted(listed) == sorted(path.as_posix() for path in modules())


def test_what_the_map_names_is_there() -> None:
    found = steps()
    assert len(found) > 30
    assert [name for name, path in found if name not in names_in(path)] == []


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Functions of ours in the order of their first call, while train.py takes four steps.

    From the first `Trainer.step` on they count anew.
    """
    folder = tmp_path_factory.mktemp("map")
    files = labelled([0, 1, 0, 1, 0, 1, 0, 1])
    pictures = {name: png(n, 8, 8, 1) for n, name in enumerate(files) if name.endswith(".png")}
    data = write_zip(folder / "data.zip", files | pictures)
    request = LaunchRequest(folder / "runs", str(data), GIVEN, None, None, dry_run=False)
    ours = {str(ROOT / module) for module in modules()}
    before: dict[str, None] = {}
    within: dict[str, None] = {}

    def note(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename in ours:
            name = f"{code.co_filename}:{code.co_qualname}"
            (within if within or code.co_qualname == "Trainer.step" else before).setdefault(name)

    profile = sys.getprofile()
    with pytest.MonkeyPatch.context() as patch:  # an estimate tries the phases out
        patch.setattr("training.launch.estimate", lambda config, world: "")
        sys.setprofile(note)
        try:
            assert train.train(World(CPU), request) == 0
        finally:
            sys.setprofile(profile)
    return [*before, *within]


def test_a_step_goes_the_way_that_the_map_tells(calls: list[str]) -> None:
    start = calls.index(f"{ROOT / 'training' / 'trainer.py'}:Trainer.step")
    parts = calls[:start], calls[start:]
    places, part = {}, 0
    for name, path in steps():
        part = 1 if name == "Trainer.step" else part
        if name not in ELSEWHERE:
            spellings = {f"{path}:{name}{suffix}" for suffix in ("", ".__init__", ".__next__")}
            at = [n for n, call in enumerate(parts[part]) if call in spellings]
            assert at, f"{name} of {path.name} was not called"
            places[name] = (part, at[-1])
    assert list(places) == sorted(places, key=lambda name: places[name])
