"""Files of one JSON document a line that processes add to, and that may be killed while they do."""

from __future__ import annotations

import json
from pathlib import Path


def append_json_line(path: Path, text: str) -> None:
    """Add the line `text`, JSON, to the file at `path`, which is made if it is not there.

    What a killed process left of its last line goes first, so that all lines stay readable. Raises
    `OSError` where the file cannot be written.
    """
    mend_json_lines(path)
    with path.open("ab") as file:
        file.write(text.encode() + b"\n")


def mend_json_lines(path: Path) -> None:
    """Take away what a killed process left of its last line; end a whole one that has no end.

    Raises `OSError` where the file cannot be written.
    """
    if not path.exists():
        return
    with path.open("r+b") as file:
        head, newline, tail = file.read().rpartition(b"\n")
        if tail:
            if _is_json(tail):
                file.write(b"\n")
            else:
                file.truncate(len(head) + len(newline))


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
