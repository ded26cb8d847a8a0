"""What the pages of the project tell users to type, for the tests of the documentation."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "assets/*.md", "docs/*.md")
    for path in ROOT.glob(pattern)
)
# In blocks without a language only lines that begin like this are commands.
PROGRAMS = ("python", "make", "pip", "conda", "torchrun", "pytest", "ssh")


@dataclass(frozen=True)
class Command:
    """A line to type, as words; `text` is what the page says."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """Split as a shell does."""
        return shlex.split(self.text, comments=True)

    @property
    def script(self) -> str:
        """Of a line of Python: the module that it runs, `train` or `training.study`."""
        words = self.words
        assert words[0] == "python", self
        return words[2] if words[1] == "-m" else Path(words[1]).stem

    @property
    def arguments(self) -> list[str]:
        """Of a line of Python: what follows the script."""
        return self.words[3 if self.words[1] == "-m" else 2 :]


def text_of(page: str) -> str:
    """The page as it is written."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Contents of the fenced blocks in a language; '' is none."""
    fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return [content for name, content in fences if name == language]


def commands(page: str) -> list[Command]:
    """Lines of all bash blocks, in order; whole scripts are none of them."""
    found = []
    fences = re.findall(r"^```(|bash)\n(.*?)^```$", text_of(page), flags=re.DOTALL | re.MULTILINE)
    for language, content in fences:
        if content.startswith("#!"):
            continue
        for line in content.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True) if language or _is_command(line) else []
            if words:
                found.append(Command(page, line))
    return found


def _is_command(line: str) -> bool:
    return line.startswith(tuple(f"{program} " for program in PROGRAMS))


def inline_commands(page: str) -> list[Command]:
    """Lines of Python within the words of a page, between backticks."""
    words = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"(?<!`)`(python\s(?:-m\s+[\w.]+|\w+\.py)[^`]*)`(?!`)", words)
    return [Command(page, " ".join(span.split())) for span in spans]


def flags(page: str) -> set[str]:
    """Options that a page names anywhere in code."""
    code = re.findall(r"^```.*?^```$|`[^`]+`", text_of(page), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"(?<![\w-])--[a-z][\w-]*", "\n".join(code))
    return {flag.replace("_", "-") for flag in found}
