"""Generated pictures as a data set, to be scored or trained on."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from dnnlib import UserError
from dnnlib.files import atomic_path
from dnnlib.logs import logger
from training.config import DataFacts
from training.data.labels import DATASET_JSON
from training.data.parallel import cpu_count, ordered_map
from training.data.writers import Entry, ZipWriter
from training.generation.conditions import Condition, as_tensor
from training.generation.manifest import Facts
from training.generation.picture_stream import Picture
from training.pictures import PictureFormat, encode_picture

_IN_A_FOLDER = 1000  # pictures


def write_data(
    path: Path,
    pictures: Iterable[Picture],
    facts: DataFacts,
    picture_format: PictureFormat,
    common: Facts,
) -> None:
    """Write `pictures` into the zip `path`, which appears when it is whole.

    `dataset.json` has their classes, or their label vectors where one of them is a mixture, with
    the `facts`' class names, and under `generated` how they were made: `common` and the seeds.
    Pictures are held only while they are packed. Raises `UserError` where something is at `path`
    already, or it cannot be written.
    """
    if path.suffix.lower() != ".zip":
        raise UserError(f"--out {path}: the name of the data set must end in .zip")
    if path.exists():
        raise UserError(f"--out {path}: is there already; remove it or choose another place")
    encode = partial(_encode, picture_format)
    conditions: list[Condition] = []
    seeds: list[object] = []
    with atomic_path(path) as temporary, closing(ZipWriter(temporary)) as archive:
        for data, picture in ordered_map(encode, pictures, cpu_count()):
            name = _file_name(len(conditions), picture_format)
            archive.write(Entry(name, len(data), zlib.crc32(data)), data)
            conditions.append(picture.condition)
            seeds.append(picture.facts["seed"])
        labels = _labels(conditions, facts.num_classes)
        of_class = labels is not None and isinstance(labels[0], int)
        names = [_file_name(index, picture_format) for index in range(len(conditions))]
        content = {
            "labels": None if labels is None else list(zip(names, labels, strict=True)),
            "class_names": facts.class_names if of_class else None,
            "generated": {**common, "seeds": seeds},
        }
        data = json.dumps(content, ensure_ascii=False).encode()
        archive.write(Entry(DATASET_JSON, len(data), zlib.crc32(data)), data)
        archive.finish()
    logger.info(f"{len(names)} image{'' if len(names) == 1 else 's'}: {path}")


def _labels(conditions: Sequence[Condition], num_classes: int) -> Sequence[object] | None:
    """Class numbers, or label vectors where not all are classes; None without classes."""
    if num_classes == 0:
        return None
    labels = [condition.label for condition in conditions]
    return as_tensor(conditions, num_classes).tolist() if None in labels else labels


def _encode(picture_format: PictureFormat, picture: Picture) -> tuple[bytes, Picture]:
    pixels = picture.image.permute(1, 2, 0).numpy()
    return encode_picture(pixels, picture_format, name="--out"), picture


def _file_name(index: int, picture_format: PictureFormat) -> str:
    return f"{index // _IN_A_FOLDER:05d}/img{index:08d}.{picture_format}"
