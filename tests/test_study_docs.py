"""docs/dual-diffusion.md names functions that exist, and shows its pictures."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "dual-diffusion.md"
TEXT = PAGE.read_text(encoding="utf-8")


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
