"""Links between the pages lead somewhere: files, headings, pictures."""

from __future__ import annotations

import re
import unicodedata

import pytest
from docs_commands import PAGES, ROOT, text_of

FENCE = re.compile(r"^```.*?^```$", flags=re.DOTALL | re.MULTILINE)


def links(page: str) -> list[str]:
    """Targets of links and pictures, outside of code."""
    words = re.sub(r"(?<!\[)`[^`]*`(?!\])", "", FENCE.sub("", text_of(page)))
    return re.findall(r"\]\(([^)\s]+)\)", words) + re.findall(r'(?:src|href)="([^"]+)"', words)


def anchors(page: str) -> set[str]:
    """The headings of a page as GitHub makes anchors of them."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", text_of(page)), flags=re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = [
            letter for letter in shown if letter in " -_" or unicodedata.category(letter)[0] in "LN"
        ]
        name = "".join(kept).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
        names.add(name if found[name] == 0 else f"{name}-{found[name]}")
    return names


def leads_somewhere(page: str, link: str) -> bool:
    """Whether a relative link of a page has its file, and that file its heading."""
    target, _, anchor = link.partition("#")
    path = ((ROOT / page).parent / target if target else ROOT / page).resolve()
    if not (path.is_relative_to(ROOT) and path.exists()):
        return False
    return not anchor or anchor in anchors(path.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    relative = [link for link in links(page) if "://" not in link]
    assert [link for link in relative if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page: str) -> None:
    folders = "tests|training|metrics|torch_utils|dnnlib|benchmarks|docs|assets"
    named = re.findall(rf"`((?:{folders})/[\w./*-]+)`", FENCE.sub("", text_of(page)))
    literal = [name for name in named if not re.search("[A-Z]{4}", name)]  # NAME stands for any
    assert [name for name in literal if not any(ROOT.glob(name))] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        for link in links(page):
            path = ((ROOT / page).parent / link.partition("#")[0]).resolve()
            if "://" not in link and path.suffix == ".md" and path.is_file():
                name = path.relative_to(ROOT).as_posix()
                waiting += [name] if name not in seen else []
    assert seen == set(PAGES)


def test_every_picture_of_the_docs_is_shown() -> None:
    shown = {
        ((ROOT / page).parent / link).resolve()
        for page in PAGES
        for link in links(page)
        if "://" not in link
    }
    pictures = [path for path in (ROOT / "docs" / "images").rglob("*") if path.is_file()]
    assert [path.name for path in pictures if path not in shown] == []
