"""Labels of an archive, from whichever layout it has.

`dataset.json` comes first, then a list of [path, label] in any one other JSON file, then folders.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnlib import UserError
from dnnlib.logs import logger
from training.data.files import Files

DATASET_JSON = "dataset.json"
MAX_CLASSES = 2**20

_SHARD_NAME = re.compile(r"(.*/)?\d{5}/img\d{8}\.\w+")
_SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})


@dataclass(frozen=True)
class Labels:
    """One label for each image, in the order of the images.

    `values` holds class indices, int64 `[N]`, or vectors, float64 `[N, D]`; `class_names` has a
    name for each class index and is empty for vectors.
    """

    values: NDArray[np.int64] | NDArray[np.float64]
    class_names: tuple[str, ...]


def find_labels(files: Files, images: Sequence[str], path: Path) -> Labels | None:
    """Labels of `images` (sorted names in `files`), None where the archive has none.

    `path` is the archive, for errors. Raises `UserError` for labels that are missing, out of
    range, of the wrong type, or for unknown files.
    """
    first = images[0].split("/")[0] + "/"
    top = first if all(name.startswith(first) for name in images) else ""
    for base in dict.fromkeys(["", top]):
        if base + DATASET_JSON in files.names:
            return _from_dataset_json(files, base, images, f"{path}/{base}{DATASET_JSON}")
    if listing := _find_list(files, top, path):
        return _from_list(*listing, images, top)
    return _from_folders(images, top, path)


def class_indices(raw: Sequence[Any], names: Sequence[str], source: str) -> NDArray[np.int64]:
    """`raw` as int64 `[N]`, each checked to be a class index; `names` tells the files."""
    for index, name in zip(raw, names, strict=True):
        if type(index) is not int or not 0 <= index < MAX_CLASSES:
            raise UserError(
                f"{source}: the label of {name} must be a class index (a whole number from 0), "
                f"found {index!r}; mend the label"
            )
    return np.array(raw, dtype=np.int64)


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


def _from_dataset_json(
    files: Files, base: str, images: Sequence[str], source: str
) -> Labels | None:
    content = _parse_json(files.read(base + DATASET_JSON), source)
    if not isinstance(content, dict):
        raise UserError(f'{source}: must be an object with "labels"; mend or remove it')
    if content.get("labels") is None:
        return None
    positions = {name.removeprefix(base): i for i, name in enumerate(images)}
    raw = _match(content["labels"], positions.get, images, source)
    if isinstance(raw[0], list):
        return Labels(_vectors(raw, images, source), ())
    indices = class_indices(raw, images, source)
    class_names = _class_names(content.get("class_names"), source) or numbered_names(indices)
    highest = int(indices.argmax())
    if indices[highest] >= len(class_names):
        raise UserError(
            f"{source}: the label of {images[highest]} is class {indices[highest]}, but there are "
            f"{len(class_names)} class_names; mend the label or add the name"
        )
    return Labels(indices, class_names)


def _find_list(files: Files, top: str, path: Path) -> tuple[list[Any], str] | None:
    """The one JSON file beside the class folders that lists [path, label], with its name."""
    found: list[tuple[list[Any], str]] = []
    for name in files.names:
        if name.lower().endswith(".json") and "/" not in name.removeprefix(top):
            content = _parse_json(files.read(name), f"{path}/{name}")
            if isinstance(content, list) and content and _is_pair(content[0]):
                found.append((content, f"{path}/{name}"))
            else:
                logger.warning(f"{path}/{name}: holds no list of [path, label] and is ignored")
    if len(found) > 1:
        raise UserError(
            f"{path}: has several lists of labels ({', '.join(source for _, source in found)}); "
            "keep one"
        )
    return found[0] if found else None


def _from_list(content: list[Any], source: str, images: Sequence[str], top: str) -> Labels:
    positions = {name.removeprefix(top): i for i, name in enumerate(images)}
    positions |= {name: i for i, name in enumerate(images)}

    def locate(listed: str) -> int | None:
        parts = listed.replace("\\", "/").split("/")
        endings = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((positions[ending] for ending in endings if ending in positions), None)

    indices = class_indices(_match(content, locate, images, source), images, source)
    return Labels(indices, _folder_of_each_class(indices, images) or numbered_names(indices))


def _folder_of_each_class(indices: NDArray[np.int64], images: Sequence[str]) -> tuple[str, ...]:
    """Folder names in the order of the classes, empty unless folders and classes are the same."""
    pairs = {
        (int(index), name.split("/")[-2])
        for index, name in zip(indices, images, strict=True)
        if "/" in name
    }
    folders = [folder for _, folder in sorted(pairs)]
    one_to_one = sorted(index for index, _ in pairs) == list(range(int(indices.max()) + 1))
    return tuple(folders) if one_to_one and len(set(folders)) == len(folders) else ()


def _from_folders(images: Sequence[str], top: str, path: Path) -> Labels | None:
    """The first folder of each image is its class, below one folder common to all."""
    folders = [name.removeprefix(top).rpartition("/")[0].split("/")[0] for name in images]
    class_names = tuple(sorted(set(folders)))
    if class_names == ("",) or all(_SHARD_NAME.fullmatch(name) for name in images):
        return None
    if "" in class_names:
        raise UserError(
            f"{path}: {images[folders.index('')]} lies beside class folders "
            f"({class_names[1]}, ...), so its class is unknown; move it, or add a {DATASET_JSON} "
            'with {"labels": null} for a data set without classes'
        )
    if _SPLITS.issuperset(class_names):
        raise UserError(
            f"{path}: holds the splits {', '.join(class_names)}, not classes; give one of them"
        )
    numbers = {name: index for index, name in enumerate(class_names)}
    return Labels(np.array([numbers[folder] for folder in folders], dtype=np.int64), class_names)


def _match(
    pairs: Any, locate: Callable[[str], int | None], images: Sequence[str], source: str
) -> list[Any]:
    """The label given to each image by [name, label] `pairs`: every image once, nothing else."""
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise UserError(f"{source}: labels must be a list of [file name, label]; mend it")
    labels: dict[int, Any] = {}
    for name, label in pairs:
        position = locate(name)
        if position is None:
            raise UserError(
                f"{source}: labels the unknown file {name!r}; add the image or drop its label"
            )
        if position in labels:
            raise UserError(f"{source}: labels {name!r} twice; drop one of the two")
        labels[position] = label
    missing = [name for i, name in enumerate(images) if i not in labels]
    if missing:
        raise UserError(
            f"{source}: has no label for {len(missing)} of {len(images)} images, the first is "
            f"{missing[0]}; label every image, or none"
        )
    return [labels[i] for i in range(len(images))]


def _vectors(raw: list[Any], names: Sequence[str], source: str) -> NDArray[np.float64]:
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


def _class_names(content: Any, source: str) -> tuple[str, ...]:
    if content is None:
        return ()
    if not isinstance(content, list) or not all(isinstance(n, str) and n for n in content):
        raise UserError(f"{source}: class_names must be a list of names, found {content!r:.80}")
    if len(set(content)) < len(content):
        raise UserError(f"{source}: class_names holds a name twice; each class needs its own")
    return tuple(content)


def _is_pair(content: Any) -> bool:
    return isinstance(content, list) and len(content) == 2 and isinstance(content[0], str)


def _parse_json(data: bytes, source: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: is not valid JSON ({error}); mend or remove it") from error
