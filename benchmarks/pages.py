"""Pages of docs/ with tables drawn from code or records: what is between two marks is replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dnnlib.files import write_text

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGES = ("training", "metrics", "torch_utils", "dnnlib", "benchmarks")
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def replace_tables(page: Path, sections: Sequence[str]) -> None:
    """Put `sections` between the marks of `page`; the words around are people's."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest and END in rest, f"{page}: has no marks for the tables"
    write_text(page, "\n\n".join([before + BEGIN, *sections, END + after]))


def modules() -> Iterator[Path]:
    """Scripts, then the modules of each package, as paths from the root."""
    yield from sorted(path.relative_to(ROOT) for path in ROOT.glob("*.py"))
    for package in PACKAGES:
        paths = [path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")]
        yield from sorted(paths, key=lambda path: (path.parent.parts, path.name))
