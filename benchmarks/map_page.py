"""The table of docs/map.md: what each module is for, by its own first line."""

from __future__ import annotations

import ast
import os
from itertools import groupby
from pathlib import Path

from benchmarks.pages import DOCS, ROOT, markdown, modules

PAGE = DOCS / "map.md"


def purpose(module: Path) -> str:
    """The first paragraph of a module's docstring."""
    text = ast.get_docstring(ast.parse((ROOT / module).read_text(encoding="utf-8")))
    assert text, f"{module}: say in a docstring what it is for"
    return " ".join(text.split("\n\n")[0].split())


def sections() -> list[str]:
    """A heading and a table for each folder."""
    parts = []
    for folder, members in groupby(modules(), key=lambda module: module.parent):
        rows = [
            (f"[{path.name}]({os.path.relpath(ROOT / path, DOCS)})", purpose(path))
            for path in members
        ]
        title = "Scripts" if folder == Path() else f"{folder.as_posix()}/"
        parts += [f"### {title}", markdown(("module", "what it is for"), rows)]
    return parts
