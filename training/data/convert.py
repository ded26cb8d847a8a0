"""Convert a source into an archive: select, resize, pack, in order and byte for byte the same."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dnnlib import Config, UserError
from dnnlib.logs import logger, track
from training.data.archive import describe_shape
from training.data.images import EXTENSIONS, Format, encode_image, from_pillow, to_pillow
from training.data.labels import DATASET_JSON
from training.data.parallel import ordered_map
from training.data.report import log_classes
from training.data.select import Selection, select
from training.data.sources import BUILTIN, Source, open_source
from training.data.transforms import TRANSFORMS, TransformName
from training.data.writers import WriteFile, archive_writer, is_zip_name

PositiveInt = Annotated[int, Field(ge=1)]


class ConvertConfig(Config):
    """What is converted, and how; `dest` is a zip where its name ends with .zip, else a folder.

    `resolution` is (width, height), None keeps the source's size. `transform` None is center-crop.
    `workers` None takes one thread for each processor.
    """

    source: str
    dest: str
    resolution: tuple[PositiveInt, PositiveInt] | None = None
    transform: TransformName | None = None
    format: Format = "png"
    max_images: PositiveInt | None = None
    max_per_class: PositiveInt | None = None
    classes: tuple[str, ...] | None = None
    workers: PositiveInt | None = None
    on_error: Literal["fail", "skip"] = "fail"
    overwrite: bool = False


Packed = tuple[bytes, tuple[int, ...]]
"""A file's bytes and the (H, W, C) of the image in it."""


def convert(config: ConvertConfig) -> None:
    """Write the archive that `config` asks for and log a table of its classes.

    Raises `UserError`, leaving no trace, for options that do not fit, unreadable images (unless
    they are to be skipped) and images that differ in size or channels.
    """
    if config.transform is not None and config.resolution is None:
        raise UserError(f"--transform {config.transform}: needs a size to aim at; add --resolution")
    _check_apart(config.source, config.dest)
    source = open_source(config.source)
    selection = select(source, config.classes, config.max_per_class, config.max_images)
    with archive_writer(Path(config.dest), config.overwrite) as write:
        kept, shape = _write_images(config, source, selection, write)
        labels = None if selection.labels is None else selection.labels[list(kept.values())]
        write(DATASET_JSON, _dataset_json(list(kept), labels, selection.class_names))
    if labels is not None and selection.class_names:
        log_classes(selection.class_names, labels)
    skipped = len(selection.indices) - len(kept)
    note = f" ({skipped} skipped)" if skipped else ""
    logger.info(f"{len(kept)} images{note}, {describe_shape(shape)}: {config.dest}")


def _write_images(
    config: ConvertConfig, source: Source, selection: Selection, write: WriteFile
) -> tuple[dict[str, int], tuple[int, ...]]:
    """Write every good image; the position in `selection` for each name written, and (H, W, C)."""
    kept: dict[str, int] = {}
    model: tuple[str, tuple[int, ...]] | None = None
    workers = config.workers or os.cpu_count() or 1
    packed = ordered_map(partial(_pack, config, source), selection.indices.tolist(), workers)
    total = len(selection.indices)
    for position, outcome in enumerate(track(packed, "Converting", total, "images")):
        try:
            if isinstance(outcome, UserError):
                raise outcome
            data, shape = outcome
            name = source.names[selection.indices[position]]
            model = model or (name, shape)
            _check_alike(model, (name, shape))
        except UserError as error:
            if config.on_error == "fail":
                raise
            logger.warning(f"skipped: {error}")
            continue
        target = f"{len(kept) // 1000:05d}/img{len(kept):08d}{EXTENSIONS[config.format]}"
        write(target, data)
        kept[target] = position
    if model is None:
        raise UserError(f"--source {config.source}: has no image that can be read; check the data")
    return kept, model[1]


def _pack(config: ConvertConfig, source: Source, index: int) -> Packed | UserError:
    """Read, resize and encode one image; its error is a value, to be met in order."""
    try:
        pixels = source.decode(index)
        if config.resolution is not None:
            transform = TRANSFORMS[config.transform or "center-crop"]
            pixels = from_pillow(transform(to_pillow(pixels), *config.resolution))
        return encode_image(pixels, config.format), pixels.shape
    except UserError as error:
        return error


def _check_alike(first: tuple[str, tuple[int, ...]], other: tuple[str, tuple[int, ...]]) -> None:
    if first[1] == other[1]:
        return
    advice = (
        "give the size that all shall have with --resolution"
        if first[1][2] == other[1][2]
        else "convert the channels of one of them, or leave it out with --on-error skip"
    )
    raise UserError(
        f"--source: {first[0]} is {describe_shape(first[1])}, but {other[0]} is "
        f"{describe_shape(other[1])}; all images must be alike: {advice}"
    )


def _check_apart(source_name: str, dest_name: str) -> None:
    """Refuse a destination that would overwrite the source or become a part of it."""
    if source_name in BUILTIN:
        return
    source, dest = Path(source_name).resolve(), Path(dest_name).resolve()
    inside = source in dest.parents and not is_zip_name(dest)
    if source == dest or inside or dest in source.parents:
        raise UserError(
            f"--dest {dest_name}: overlaps with --source {source_name}; choose another place"
        )


def _dataset_json(
    names: list[str],
    labels: NDArray[np.int64] | NDArray[np.float64] | None,
    class_names: tuple[str, ...],
) -> bytes:
    pairs = None if labels is None else list(zip(names, labels.tolist(), strict=True))
    content = {"labels": pairs, "class_names": class_names or None}
    return json.dumps(content, ensure_ascii=False).encode()
