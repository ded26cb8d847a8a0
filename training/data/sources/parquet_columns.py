"""Which columns of a parquet file hold the images and the labels."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dnnlib import UserError
from dnnlib.logs import logger
from training.data.label_lists import LABEL_COLUMNS
from training.data.labels import checked_class_names

BYTES = "bytes"  # the field of HuggingFace's image structs with the file


class Columns:
    """The columns of `schema`, a pyarrow schema, and what the data set's publisher says of them.

    `file` stands for the parquet file in errors.
    """

    def __init__(self, schema: Any, file: Path) -> None:
        self._types: dict[str, Any] = {field.name: field.type for field in schema}
        self._features = _features(schema)
        self._file = file

    def image(self, wanted: str) -> str:
        """The column `wanted`, or the only one that can hold images.

        A column said to be of images goes before a struct with bytes, and that before mere bytes.
        Raises `UserError` where `wanted` holds no images, or there is more or less than one choice.
        """
        structs = [name for name, kind in self._types.items() if _has_bytes(kind)]
        binary = [name for name, kind in self._types.items() if _is_binary(kind)]
        if wanted:
            self._check_known("--image-column", wanted)
            if wanted not in {*structs, *binary}:
                raise UserError(
                    f"--image-column {wanted}: must hold bytes of images, {self._file} has "
                    f"{self._types[wanted]} there; columns with bytes: {_listed(structs + binary)}"
                )
            return wanted
        said = [name for name in structs + binary if self._kind(name) == "Image"]
        candidates = said or structs or binary
        if len(candidates) != 1:
            raise UserError(
                f"{self._file}: must have one column with the bytes of images, found "
                f"{_listed(candidates)} among {_listed(self._types)}; choose with --image-column"
            )
        return candidates[0]

    def label(self, wanted: str) -> str | None:
        """The column `wanted`, or the only one that can hold labels, None where there is none.

        A column said to be of class labels goes before one that is only called so. Raises
        `UserError` where there is no column `wanted`, or more than one choice.
        """
        if wanted:
            self._check_known("--label-column", wanted)
            return wanted
        said = [name for name in self._types if self._kind(name) == "ClassLabel"]
        candidates = said or [name for name in self._types if name.lower() in LABEL_COLUMNS]
        if len(candidates) > 1:
            raise UserError(
                f"{self._file}: may have its labels in {_listed(candidates)}; choose with "
                "--label-column"
            )
        if not candidates:
            logger.warning(
                f"{self._file}: no column looks like labels ({_listed(self._types)}); going on "
                "without classes, or name one with --label-column"
            )
        return candidates[0] if candidates else None

    def class_names(self, column: str) -> tuple[str, ...]:
        """The names of the classes in `column`, `()` where the file does not tell."""
        if self._kind(column) != "ClassLabel":
            return ()
        return checked_class_names(self._features[column].get("names"), str(self._file))

    def _kind(self, column: str) -> object:
        return self._features.get(column, {}).get("_type")

    def _check_known(self, flag: str, column: str) -> None:
        if column not in self._types:
            raise UserError(
                f"{flag} {column}: {self._file} has no such column, it has {_listed(self._types)}"
            )


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """The `datasets` library's description of each column; {} where the file has none."""
    try:
        said = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in said.items() if isinstance(feature, dict)}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _is_binary(kind: Any) -> bool:
    return str(kind) in {"binary", "large_binary", "binary_view"}


def _has_bytes(kind: Any) -> bool:
    return str(kind).startswith("struct") and any(
        field.name == BYTES and _is_binary(field.type) for field in kind
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
