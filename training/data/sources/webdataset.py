"""Webdataset tars: the files of one sample share a name up to its first dot, `0001.jpg 0001.cls`.

A tar without such samples is read like a folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from dnnlib import UserError
from dnnlib.logs import logger
from training.data.files import Files, SomeFiles
from training.data.images import IMAGE_SUFFIXES
from training.data.label_lists import LABEL_COLUMNS, parse_json
from training.data.labels import Labels, make_text_labels
from training.data.layouts import find_labels, folder_labels

_SIDECARS = (".cls", ".json", ".txt")


def samples(files: Files, path: str | Path) -> Files:
    """`files` without the second images of samples, such as the mask in `1.jpg 1.mask.png`.

    Raises `UserError` for a sample with two images of which neither is such; a tar without labels
    in files of their own has no samples.
    """
    has_labels = any(name.endswith(_SIDECARS) for name in files.names)
    images: dict[str, str] = {}
    others: set[str] = set()
    for name in files.names:
        key, extension = _split(name)
        if PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if extension.lower() not in IMAGE_SUFFIXES:
            others.add(name)
        elif key in images and has_labels:
            raise UserError(
                f"{path}: {images[key]} and {name} are of one sample; keep one image for each"
            )
        else:
            images[key] = name
    seconds = {name for name in others if _split(name)[0] in images}
    if seconds:
        logger.warning(
            f"{path}: {len(seconds)} images are left out, which have a longer name than another of "
            f"their sample, like {min(seconds)}"
        )
    return SomeFiles(files, {name: name for name in files.names if name not in seconds})


def sample_labels(
    column: str, files: Files, images: Sequence[str], path: str | Path
) -> Labels | None:
    """Labels of `images` from the first that serves of `.cls`, `.json` and `.txt` beside them.

    `column` is the key of the label in JSON, '' takes the first of `LABEL_COLUMNS`; without such
    keys JSON holds no label, and texts that hardly repeat are captions. Folders are the classes
    where nothing serves. Raises `UserError` for images without a label, and where no `.cls` file
    belongs to an image.
    """
    names = set(files.names)
    keys = [_split(image)[0] for image in images]
    _check_classes(names, set(keys), path)
    found = [suffix for suffix in _SIDECARS if any(key + suffix in names for key in keys)]
    for suffix in found:
        missing = next((key for key in keys if key + suffix not in names), None)
        if missing is not None:
            raise UserError(
                f"{path}: has no {missing}{suffix}, but others of the kind; label every image, or "
                "none"
            )
        raw = _read_labels(files, [key + suffix for key in keys], column, path)
        if raw is not None:
            return make_text_labels(raw, images, f"{path}: {suffix}")
    if column:
        raise UserError(f"--label-column {column}: {path} has no .json files with such a key")
    return folder_labels(images, Path(path)) if found else find_labels(files, images, Path(path))


def _check_classes(names: set[str], keys: set[str], path: str | Path) -> None:
    """Raise `UserError` where no `.cls` file belongs to a sample with an image, warn where some do.

    `keys` are the names of the samples with an image.
    """
    classes = [name for name in names if name.endswith(".cls")]
    loose = [name for name in classes if name.removesuffix(".cls") not in keys]
    if not loose:
        return
    told = (
        f"{path}: {len(loose)} of {len(classes)} .cls files belong to no image, like {min(loose)}: "
        "the name of a sample ends at its first dot"
    )
    if len(loose) == len(classes):
        raise UserError(f"{told}; rename the files, or give --labels FILE, or --class-depth 0")
    logger.warning(told)


def _read_labels(
    files: Files, names: Sequence[str], column: str, path: str | Path
) -> list[Any] | None:
    """The content of one file for each image, None where it is something else than a label."""
    if not names[0].endswith(".json"):
        texts = [files.read(name).decode("utf-8", "replace").strip() for name in names]
        captions = names[0].endswith(".txt") and 2 * len(set(texts)) > len(texts)
        if captions:
            logger.warning(f"{path}: its .txt files hardly repeat: captions, not classes; ignored")
        return None if captions else texts
    contents = [parse_json(files.read(name), f"{path}/{name}") for name in names]
    wanted = [column] if column else LABEL_COLUMNS
    key = next((k for k in wanted if any(isinstance(c, dict) and k in c for c in contents)), None)
    if key is None:
        return None
    for name, content in zip(names, contents, strict=True):
        if not isinstance(content, dict) or key not in content:
            raise UserError(f"{path}/{name}: has no key {key}, which others have; add it")
    return [content[key] for content in contents]


def _split(name: str) -> tuple[str, str]:
    """The sample's name, with its folders, and the extension from the first dot on."""
    folder, slash, file = name.rpartition("/")
    base, dot, extension = file.partition(".")
    return f"{folder}{slash}{base}", dot + extension
