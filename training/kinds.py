"""Unions of configs that are told apart by their field `kind`."""

from __future__ import annotations

from pydantic import Discriminator


def by_kind(default: str) -> Discriminator:
    """Which config of a union is meant: that of the tag `kind`, or `default` where it is left out.

    Files written before there was a choice say nothing of it.
    """

    def tag(value: object) -> str:
        if isinstance(value, dict):
            return str(value.get("kind", default))
        return str(getattr(value, "kind", default))

    return Discriminator(tag)
