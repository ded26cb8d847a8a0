"""Bytes with something changed in them, and how hard the fuzz tests try."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The same inputs every time, unless asked for so many of other ones.
_ASKED = os.environ.get("DUDGAN_FUZZ_EXAMPLES")


def fuzzed(examples: int) -> settings:
    """Settings of a fuzz test with so many examples, or with $DUDGAN_FUZZ_EXAMPLES of new ones."""
    return settings(
        max_examples=int(_ASKED) if _ASKED else examples,
        derandomize=_ASKED is None,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


_VALUES = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)


@st.composite
def mutated(draw: st.DrawFn, data: bytes, focus: Sequence[int] = ()) -> bytes:
    """`data` with a few bytes replaced, removed, repeated or inserted, or its end cut off.

    Half of the places are near one of `focus`, where the structure of the file lies.
    """
    changed = bytearray(data)
    anywhere = st.integers(0, len(data) - 1)
    near = st.builds(
        lambda start, step: min(max(start + step, 0), len(data) - 1),
        st.sampled_from(focus or [0]),
        st.integers(0, 64),
    )
    for _ in range(draw(st.integers(1, 6))):
        place = min(draw(anywhere | near), max(len(changed) - 1, 0))
        length = draw(st.sampled_from([1, 1, 1, 2, 4, 8, 50]))
        kind = draw(st.sampled_from(["set", "set", "set", "remove", "repeat", "insert", "cut"]))
        if kind == "set":
            changed[place : place + length] = draw(st.lists(_VALUES, min_size=1, max_size=length))
        elif kind == "remove":
            del changed[place : place + length]
        elif kind == "repeat":
            changed[place:place] = changed[place : place + length]
        elif kind == "insert":
            changed[place:place] = draw(st.binary(min_size=1, max_size=length))
        else:
            del changed[place:]
    return bytes(changed)


odd_numbers = st.sampled_from(
    [0, -1, 1, 2, 3, 7, 64, 2**16, 2**31, 2**40, 2**63, 10**30, 0.5, -0.0, 1e308]
)
scalars = st.none() | st.booleans() | odd_numbers | st.text(max_size=8)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=10,
)


def paths_in(content: Any) -> list[tuple[Any, ...]]:
    """The places of all values inside a JSON value, as keys and indices from the top."""
    found: list[tuple[Any, ...]] = []
    items: Any = ()
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    for key, value in items:
        found.append((key,))
        found += [(key, *rest) for rest in paths_in(value)]
    return found


def replace_in(content: Any, path: Sequence[Any], change: Callable[[Any], Any]) -> None:
    """Change the value at `path` inside a JSON value, in place."""
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = change(content[path[-1]])
