"""Labels as values: class indices with names, or vectors, one for each image."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnlib import UserError

DATASET_JSON = "dataset.json"
MAX_CLASSES = 2**20

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Labels:
    """One label for each image, in the order of the images.

    `values` holds class indices, int64 `[N]`, or vectors, float64 `[N, D]`; `class_names` has a
    name for each class index and is empty for vectors.
    """

    values: NDArray[np.int64] | NDArray[np.float64]
    class_names: tuple[str, ...]


def make_labels(
    raw: Sequence[Any], images: Sequence[str], source: str, class_names: tuple[str, ...] = ()
) -> Labels:
    """Labels from one raw value for each of `images`: whole numbers or lists of numbers.

    `class_names` are '0', '1', ... where there are none. `source` tells where the labels stand, in
    errors. Raises `UserError` for values that are no labels or are beyond the names.
    """
    if isinstance(raw[0], list):
        return Labels(_vectors(raw, images, source), ())
    indices = class_indices(raw, images, source)
    names = class_names or numbered_names(indices)
    highest = int(indices.argmax())
    if indices[highest] >= len(names):
        raise UserError(
            f"{source}: the label of {images[highest]} is class {indices[highest]}, but there are "
            f"{len(names)} class_names; mend the label or add the name"
        )
    return Labels(indices, names)


def make_text_labels(
    raw: Sequence[Any], images: Sequence[str], source: str, class_names: tuple[str, ...] = ()
) -> Labels:
    """`make_labels` for values that may be texts: numbers written out, or names of classes.

    Where `class_names` is empty, names are numbered in their order. Raises `UserError` for an empty
    text, for a name that `class_names` lack, and as `make_labels` does.
    """
    if not all(isinstance(value, str) for value in raw):
        return make_labels(raw, images, source, class_names)
    texts = [composed(value.strip()) for value in raw]
    if "" in texts:
        raise UserError(f"{source}: the label of {images[texts.index('')]} is empty; add it")
    if all(_NUMBER.fullmatch(text) for text in texts):
        return make_labels([_number(text) for text in texts], images, source, class_names)
    names = class_names or tuple(sorted(set(texts)))
    numbers = {name: index for index, name in enumerate(names)}
    for text, image in zip(texts, images, strict=True):
        if text not in numbers:
            raise UserError(
                f"{source}: the label of {image} is {text!r:.80}, which is not among the "
                "class_names; mend the label or add the name"
            )
    return Labels(np.array([numbers[text] for text in texts], dtype=np.int64), names)


def class_indices(raw: Sequence[Any], names: Sequence[str], source: str) -> NDArray[np.int64]:
    """`raw` as int64 `[N]`; `names` tells the files.

    Raises `UserError` for what is no class index, a whole number from 0 to `MAX_CLASSES` - 1.
    """
    for index, name in zip(raw, names, strict=True):
        if type(index) is not int or not 0 <= index < MAX_CLASSES:
            raise UserError(
                f"{source}: the label of {name} must be a class index (a whole number from 0 to "
                f"{MAX_CLASSES - 1}), found {index!r:.80}; mend the label"
            )
    return np.array(raw, dtype=np.int64)


def checked_class_names(content: Any, source: str) -> tuple[str, ...]:
    """A list of class names out of a file, or `()` for None.

    Raises `UserError` for anything else, and for a name that comes twice.
    """
    if content is None:
        return ()
    if not isinstance(content, list) or not all(isinstance(n, str) and n for n in content):
        raise UserError(f"{source}: class_names must be a list of names, found {content!r:.80}")
    names = tuple(composed(name) for name in content)
    if len(set(names)) < len(names):
        raise UserError(f"{source}: class_names holds a name twice; each class needs its own")
    return names


def composed(name: str) -> str:
    """The name of a class as keyboards write it: a Mac's folders hold letters and accents apart."""
    return unicodedata.normalize("NFC", name)


def check_class_names(path: str | Path, class_names: Sequence[str]) -> None:
    """Raise `UserError` for a name that no text file can hold.

    Folders that were unpacked from an archive of another system may have such names.
    """
    for name in class_names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{path}: the name of the class {name!r:.200} is not UTF-8; rename its folder, or "
                "mend the name where it is written"
            ) from None


def numbered_names(indices: NDArray[np.int64]) -> tuple[str, ...]:
    """'0', '1', ... up to the highest class index."""
    return tuple(str(index) for index in range(int(indices.max()) + 1))


def check_every_class(path: str | Path, class_names: Sequence[str], counts: Sequence[int]) -> None:
    """Raise `UserError` where a class has no image."""
    empty = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if empty:
        raise UserError(
            f"{path}: {len(empty)} of {len(class_names)} classes have no image, the first is "
            f"{empty[0]!r}; add images, remove the class (numbers begin at 0), or train with "
            "--cond=false"
        )


def _number(text: str) -> int | float:
    number = float(text)
    return int(text) if text.lstrip("+-").isdigit() and abs(number) < 2**53 else number


def _vectors(raw: Sequence[Any], names: Sequence[str], source: str) -> NDArray[np.float64]:
    for vector, name in zip(raw, names, strict=True):
        if (
            not isinstance(vector, list)
            or not 0 < len(vector) == len(raw[0])
            or not all(type(x) in {int, float} and math.isfinite(x) for x in vector)
        ):
            raise UserError(
                f"{source}: the label of {name} must be a list of {len(raw[0])} numbers like the "
                f"first one, found {vector!r:.80}; mend the label"
            )
    return np.array(raw, dtype=np.float64)
