"""Labels of an archive, from whichever layout it has.

`dataset.json` comes first, then a list of [path, label] in any one other JSON file, then folders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnlib import UserError
from dnnlib.logs import logger
from training.data.files import Files
from training.data.label_lists import is_pair, match, parse_json, path_finder, read_table
from training.data.labels import (
    DATASET_JSON,
    Labels,
    checked_class_names,
    class_indices,
    composed,
    make_labels,
    numbered_names,
)

FindLabels = Callable[[Files, Sequence[str], Path], Labels | None]

_SHARD_NAME = re.compile(r"(.*/)?\d{5}/img\d{8}\.\w+")
_SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})


def find_labels(files: Files, images: Sequence[str], path: Path) -> Labels | None:
    """Labels of `images` (sorted names in `files`), None where the archive has none.

    `path` is the archive, for errors. Raises `UserError` for labels that are missing, out of
    range, of the wrong type, or for unknown files.
    """
    bases = _bases(images)
    for base in bases:
        if base + DATASET_JSON in files.names:
            return _from_dataset_json(files, base, images, f"{path}/{base}{DATASET_JSON}")
    if listing := _find_list(files, images, bases, path):
        content, source = listing
        raw = match(content, path_finder(images, bases), images, source)
        indices = class_indices(raw, images, source)
        return Labels(indices, _folder_of_each_class(indices, images) or numbered_names(indices))
    if all(_SHARD_NAME.fullmatch(name) for name in images):
        return None
    return folder_labels(images, path)


def table_labels(
    table: Path, column: str, files: Files, images: Sequence[str], path: Path
) -> Labels:
    """Labels of `images` from a CSV, JSONL or JSON file, see `read_table`."""
    return read_table(table, column, images, path_finder(images, _bases(images)))


def level_labels(
    levels: tuple[int, int], files: Files, images: Sequence[str], path: Path
) -> Labels | None:
    """Labels of `images` from the folder levels first to last, see `folder_labels`."""
    return folder_labels(images, path, *levels) if levels[1] > 0 else None


def folder_labels(
    images: Sequence[str], path: Path, first: int = 1, last: int = 1
) -> Labels | None:
    """The folders `first` to `last` below the one common to all `images` are the class.

    None where there are no folders. Raises `UserError` for an image that lies above them, and for
    folders that are splits.
    """
    top = _bases(images)[-1]
    folders = [name.removeprefix(top).split("/")[:-1] for name in images]
    if not any(folders):
        return None
    short = next((i for i, parts in enumerate(folders) if len(parts) < last), None)
    if short is not None and last > 1:
        raise UserError(
            f"--class-depth: {path}/{images[short]} lies {len(folders[short])} folders deep below "
            f"the one common to all, less than {last}; choose a smaller level or move it"
        )
    if short is not None:
        beside = next(parts[0] for parts in folders if parts)
        raise UserError(
            f"{path}: {images[short]} lies beside class folders ({beside}, ...), so its class is "
            f"unknown; move it, or add a {DATASET_JSON} "
            'with {"labels": null} for a data set without classes'
        )
    classes = [composed("/".join(parts[first - 1 : last])) for parts in folders]
    class_names = tuple(sorted(set(classes)))
    if _SPLITS.issuperset(class_names):
        raise UserError(
            f"{path}: holds the splits {', '.join(class_names)}, not classes; choose one with "
            f"--split {class_names[-1]}, or take the folders below with --class-depth 2"
        )
    numbers = {name: index for index, name in enumerate(class_names)}
    return Labels(np.array([numbers[name] for name in classes], dtype=np.int64), class_names)


def _bases(images: Sequence[str]) -> list[str]:
    """'' and every folder that all images lie in, each ending in '/', the deepest last."""
    # Sorted names: what the first and the last share is common to all.
    common: list[str] = []
    for one, other in zip(images[0].split("/")[:-1], images[-1].split("/")[:-1], strict=False):
        if one != other:
            break
        common.append(one)
    return ["/".join([*common[:depth], ""]) for depth in range(len(common) + 1)]


def _from_dataset_json(
    files: Files, base: str, images: Sequence[str], source: str
) -> Labels | None:
    content = parse_json(files.read(base + DATASET_JSON), source)
    if not isinstance(content, dict):
        raise UserError(f'{source}: must be an object with "labels"; mend or remove it')
    if content.get("labels") is None:
        return None
    positions = {name.removeprefix(base): i for i, name in enumerate(images)}
    raw = match(content["labels"], positions.get, images, source)
    names = checked_class_names(content.get("class_names"), source)
    return make_labels(raw, images, source, names)


def _find_list(
    files: Files, images: Sequence[str], bases: Sequence[str], path: Path
) -> tuple[list[Any], str] | None:
    """The one JSON file beside the class folders that lists [path, label], with its name.

    Files that are named like an image tell something of it and are not read.
    """
    found: list[tuple[list[Any], str]] = []
    others: list[str] = []
    for name in _json_beside(files, images, bases):
        content = parse_json(files.read(name), f"{path}/{name}")
        if isinstance(content, list) and content and is_pair(content[0]):
            found.append((content, f"{path}/{name}"))
        else:
            others.append(name)
    if others:
        more = f" and {len(others) - 1} more files" if len(others) > 1 else ""
        logger.warning(f"{path}: {others[0]}{more} hold no list of [path, label]; ignored")
    if len(found) > 1:
        raise UserError(
            f"{path}: has several lists of labels ({', '.join(source for _, source in found)}); "
            "keep one"
        )
    return found[0] if found else None


def _json_beside(files: Files, images: Sequence[str], bases: Sequence[str]) -> list[str]:
    """JSON files in the folders `bases`, but for `1.json` and `1.png.json` beside `1.png`."""
    names = [
        name
        for name in files.names
        if name.lower().endswith(".json") and name[: name.rfind("/") + 1] in bases
    ]
    if not names:
        return []
    stems = {*images, *(image.rpartition(".")[0] for image in images)}
    return [name for name in names if name[: -len(".json")] not in stems]


def _folder_of_each_class(indices: NDArray[np.int64], images: Sequence[str]) -> tuple[str, ...]:
    """Folder names in the order of the classes, empty unless folders and classes are the same."""
    pairs = {
        (int(index), composed(name.split("/")[-2]))
        for index, name in zip(indices, images, strict=True)
        if "/" in name
    }
    folders = [folder for _, folder in sorted(pairs)]
    one_to_one = sorted(index for index, _ in pairs) == list(range(int(indices.max()) + 1))
    return tuple(folders) if one_to_one and len(set(folders)) == len(folders) else ()
