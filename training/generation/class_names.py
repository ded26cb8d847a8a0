"""Classes of a network as file names can hold them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MAX_LENGTH = 40  # characters of a class in a file name


def file_names(class_names: Sequence[str]) -> list[str]:
    """A different short name for each class, of letters, digits, '.', '_' and '-' only."""
    plain = [re.sub(r"[^\w.-]+", "_", name)[:_MAX_LENGTH] for name in class_names]
    if len({name.casefold() for name in plain}) == len(plain):
        return plain
    return [f"{number}-{name}" for number, name in enumerate(plain)]
