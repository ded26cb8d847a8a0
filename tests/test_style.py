"""What a reader may rely on in every file: its size, its docstrings, and that it is finished."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("dnnlib", "torch_utils", "training", "metrics", "benchmarks")
TEXT = {".py", ".md", ".toml", ".yml", ".txt", ".cu", ".cuh", ".js", ".css", ".html", ""}
MAX_FILE = 350
MAX_FUNCTION = 60
# In words that this file does not hold itself.
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b")
MACHINE = re.compile(r"(?<![\w.~{}$)/-])/(?:home|root|work|Users|mnt)/\w|\b10(?:\.\d+){3}\b")
RELATIVE_IMPORT = re.compile(r"^\s*from \.", re.MULTILINE)


def files(*suffixes: str) -> list[Path]:
    """Files of the project with one of these suffixes, no build results among them."""
    folders = [ROOT / name for name in (*CODE, "tests", "docs", "assets", ".ci")]
    inside = [path for folder in folders for path in folder.rglob("*")]
    found = [path for path in (*ROOT.iterdir(), *inside) if path.suffix in suffixes]
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


SOURCES = files(".py")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def definitions(path: Path) -> Iterator[tuple[str, Definition, bool]]:
    """(dotted name, node, whether it is public) of all functions, methods and classes."""

    def inside(node: ast.AST, prefix: str, public: bool) -> Iterator[tuple[str, Definition, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Definition):
                name, seen = f"{prefix}.{child.name}", public and not child.name.startswith("_")
                yield name, child, seen
                is_class = isinstance(child, ast.ClassDef)
                yield from inside(child, name, seen and is_class)
            elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                yield from inside(child, prefix, public)

    yield from inside(parsed(path), name_of(path), True)


def test_files_and_functions_fit_on_a_few_screens() -> None:
    """Options above a command are a table of their own and do not count."""
    long = [
        name_of(path)
        for path in SOURCES
        if len(path.read_text(encoding="utf-8").splitlines()) > MAX_FILE
    ]
    for path in SOURCES:
        for name, node, _ in definitions(path):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if not isinstance(node, ast.ClassDef) and lines > MAX_FUNCTION:
                long.append(name)
    assert long == []


def test_every_module_and_every_public_name_says_what_it_is_for() -> None:
    silent = []
    for path in SOURCES:
        tree = parsed(path)
        if tree.body and not ast.get_docstring(tree):
            silent.append(name_of(path))
        if "tests" not in path.parts:
            found = definitions(path)
            silent += [
                name for name, node, public in found if public and not ast.get_docstring(node)
            ]
    assert silent == []


def test_nothing_is_left_undone_and_nothing_tells_of_a_machine() -> None:
    for path in files(*TEXT):
        text = path.read_text(encoding="utf-8")
        for pattern in (UNFINISHED, MACHINE):
            match = pattern.search(text)
            assert match is None, f"{name_of(path)}: {match and match.group()}"


def test_imports_are_absolute() -> None:
    assert [name_of(path) for path in SOURCES if RELATIVE_IMPORT.search(path.read_text())] == []


@pytest.mark.parametrize(
    ("pattern", "caught", "fine"),
    [
        (UNFINISHED, "# TO" + "DO: later", "todo lists are fine"),
        (MACHINE, "see /" + "home/me/data", "~/data, https://site.example/" + "home/x"),
        (MACHINE, "http://10." + "0.0.1:80", "127.0.0.1, version 10.2"),
    ],
)
def test_what_is_looked_for_is_found(pattern: re.Pattern[str], caught: str, fine: str) -> None:
    assert pattern.search(caught) and not pattern.search(fine)
