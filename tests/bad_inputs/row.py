"""The tables `*.txt` of this folder: a command line, and below it the line that must follow.

'@name' is a file or folder of `bad_inputs.places`, OUT a place that must not be there afterwards;
LONG, DEEP and DIGITS are too much of something, and '\\x1b' is a character that no keyboard has.
'NAME = words' stands for words wherever '$NAME' is. ' ... ' in an answer stands for any text.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TABLES = Path(__file__).parent
_TOO_MUCH = {"LONG": "x" * 300, "DEEP": "x/" * 3000, "DIGITS": "9" * 5000}


@dataclass(frozen=True)
class Row:
    """What is typed, and the parts of the answer, in their order."""

    name: str
    script: str
    words: tuple[str, ...]
    says: tuple[str, ...]

    def arguments(self, files: Path, out: Path) -> list[str]:
        """What the script gets."""
        return [word.replace("@", f"{files}/").replace("OUT", str(out)) for word in self.words]

    def is_in(self, line: str, files: Path, out: Path) -> bool:
        """Whether `line` is the answer."""
        shown = line.replace(f"{files}/", "@").replace(str(out), "OUT")
        place = 0
        for part in self.says:
            place = shown.find(part, place)
            if place < 0:
                return False
            place += len(part)
        return True


def read_rows() -> list[Row]:
    """The rows of all tables."""
    return [row for table in sorted(TABLES.glob("*.txt")) for row in _read(table)]


def _read(table: Path) -> Iterator[Row]:
    short: dict[str, str] = {}
    typed = ""
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("  "):
            script, *words = map(_unescaped, shlex.split(typed))
            name = f"{table.stem}-{number - 1}"
            yield Row(
                name, script.removesuffix(".py"), tuple(words), tuple(line[2:].split(" ... "))
            )
        elif definition := re.fullmatch(r"([A-Z]+) = (.*)", line):
            short[definition[1]] = definition[2]
        elif not line.startswith("#"):
            typed = re.sub(r"\$([A-Z]+)", lambda match: short[match[1]], line)


def _unescaped(word: str) -> str:
    word = re.sub("|".join(_TOO_MUCH), lambda match: _TOO_MUCH[match[0]], word)
    escape = r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4}))"
    return re.sub(escape, lambda match: chr(int(match[1] or match[2], 16)), word)
