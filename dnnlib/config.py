"""Strict, frozen configuration objects that travel as JSON with every run and network file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from dnnlib.errors import UserError


class Config(BaseModel):
    """Base of all configs: immutable, no unknown fields, defaults validated like given values."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    def to_json(self) -> str:
        """The whole config as indented JSON."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str, source: str | Path) -> Self:
        """Parse `text`; `source` names where it came from in errors.

        Raises `UserError` naming the first field that breaks a rule.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise UserError(f"{source}: {first_problem(error)}") from None

    def differences(self, other: Self) -> list[str]:
        """Fields (dotted) in which the two configs differ, as 'name: ours -> theirs'."""
        return _differences(self.model_dump(mode="json"), other.model_dump(mode="json"), "")


def first_problem(error: ValidationError) -> str:
    """The first broken rule of a pydantic error in one line: field, rule, what was found.

    A rule about several fields names them itself.
    """
    problem = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"]) or "config"
    rule = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"] and problem["type"] == "value_error":
        return rule
    return f"{field}: {rule}, found {problem['input']!r:.80}"


@contextmanager
def naming_options(suffix: str = "") -> Iterator[None]:
    """Turn a broken rule of a config into a `UserError` about the option of that name.

    `suffix` follows the name of the field: `_c` makes `noise_sd` --noise-sd-c.
    """
    try:
        yield
    except ValidationError as error:
        found = re.fullmatch(r"(\w+)(.*)", first_problem(error), re.DOTALL)
        assert found is not None
        option = f"{found[1]}{suffix}".replace("_", "-")
        raise UserError(f"--{option}{found[2]}") from None


def _differences(ours: Any, theirs: Any, prefix: str) -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = list(ours) + [name for name in theirs if name not in ours]
        return [
            line
            for name in names
            for line in _differences(
                ours.get(name), theirs.get(name), f"{prefix}.{name}" if prefix else name
            )
        ]
    return [] if ours == theirs else [f"{prefix}: {ours} -> {theirs}"]
