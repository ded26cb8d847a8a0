"""A contact sheet of a data set: a row for each class, to be looked at before training."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dnnlib import UserError
from dnnlib.files import atomic_path
from dnnlib.logs import logger
from training.captions import drawable
from training.data.archive import ImageArchive
from training.data.images import to_pillow
from training.data.transforms import on_colour

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_COLUMNS, _MAX_ROWS = 12, 100
# Pixels: the longer side of a picture; two lines of text; gap between pictures; around the sheet;
# the longest caption.
_SMALLEST, _LARGEST, _LINES, _GAP, _MARGIN, _WIDEST = 48, 128, 34, 2, 8, 220
_PAPER, _INK, _FAINT = (255, 255, 255), (32, 32, 32), (128, 128, 128)
_BEHIND = (160, 160, 160)  # transparent images

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def check_preview(path: str | None, *data: str | Path) -> None:
    """Raise `UserError` where no picture can be written to `path`, or it would be a part of `data`.

    `data` are data sets: a sheet among their images would be taken for one of them.
    """
    if path is None:
        return
    place = Path(os.path.realpath(path))
    if place.suffix.lower() not in _FORMATS:
        raise UserError(f"--preview {path}: must end with {', '.join(_FORMATS)}")
    for one in data:
        if Path(os.path.realpath(one)) in {place, *place.parents}:
            raise UserError(f"--preview {path}: lies in {one}; choose a place outside the data")
    above = next(parent for parent in place.parents if parent.exists())
    if place.is_dir() or not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"--preview {path}: cannot be written there; choose another place")


def draw_preview(archive: ImageArchive, usable: Sequence[int], path: Path) -> None:
    """Draw up to twelve images of each class, evenly chosen among the `usable` indices.

    Without classes the sheet is filled row by row. A sheet that cannot be written is a warning:
    nothing is wrong with the data.
    """
    rows = [
        (caption, [_picture(archive, index) for index in indices])
        for caption, indices in _rows(archive, np.array(usable, dtype=np.int64))
    ]
    everything = [picture for _, pictures in rows for picture in pictures]
    width, height = (max(picture.size[axis] for picture in everything) for axis in (0, 1))
    height = max(height, _LINES if rows[0][0] else 0)
    columns = max(len(pictures) for _, pictures in rows)
    font = ImageFont.load_default(size=13)
    left = _MARGIN + _caption_width([caption for caption, _ in rows], font)
    sheet = Image.new(
        "RGB",
        (
            left + columns * (width + _GAP) - _GAP + _MARGIN,
            2 * _MARGIN + len(rows) * (height + _GAP) - _GAP,
        ),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for row, (caption, pictures) in enumerate(rows):
        top = _MARGIN + row * (height + _GAP)
        _write_caption(draw, font, caption, (_MARGIN, top + height // 2))
        for column, picture in enumerate(pictures):
            x = left + column * (width + _GAP) + (width - picture.width) // 2
            sheet.paste(picture, (x, top + (height - picture.height) // 2))
    try:
        with atomic_path(path) as temporary:
            sheet.save(temporary, _FORMATS[path.suffix.lower()])
    except UserError as error:
        logger.warning(f"--preview {error}")
    else:
        logger.info(f"Preview: {path}")


def _rows(archive: ImageArchive, usable: NDArray[np.int64]) -> list[tuple[list[str], list[int]]]:
    """A caption, of one line or two, and image indices for each row."""
    if not archive.class_names or archive.labels is None:
        chosen = _spread(usable, _COLUMNS * _COLUMNS)
        return [([], chosen[i : i + _COLUMNS]) for i in range(0, len(chosen), _COLUMNS)]
    labels = archive.labels[usable]
    rows: list[tuple[list[str], list[int]]] = []
    for index, name in enumerate(archive.class_names[:_MAX_ROWS]):
        members = usable[labels == index]
        count = f"{index}: {len(members)} image{'' if len(members) == 1 else 's'}"
        rows.append(([name, count], _spread(members, _COLUMNS)))
    if len(archive.class_names) > _MAX_ROWS:
        logger.info(f"Preview: shows the first {_MAX_ROWS} of {len(archive.class_names)} classes")
    return rows


def _spread(indices: NDArray[np.int64], limit: int) -> list[int]:
    """Up to `limit` of the indices at even distances."""
    count = min(limit, len(indices))
    chosen: list[int] = indices[np.arange(count) * len(indices) // max(count, 1)].tolist()
    return chosen


def _picture(archive: ImageArchive, index: int) -> Image.Image:
    """Image `index`: shrunk smoothly where it is large, each pixel repeated where it is tiny."""
    image = on_colour(to_pillow(archive.decode(index)), _BEHIND)
    side = max(image.size)
    if side <= _LARGEST:
        factor = max(min(math.ceil(_SMALLEST / side), _LARGEST // side), 1)
        size = image.width * factor, image.height * factor
        return image.resize(size, Image.Resampling.NEAREST)
    width, height = (max(round(length * _LARGEST / side), 1) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _caption_width(captions: Sequence[Sequence[str]], font: Font) -> int:
    """Pixels that captions take with the margin behind them; 0 where there are none."""
    lengths = [font.getlength(drawable(line)) for caption in captions for line in caption]
    return min(math.ceil(max(lengths)), _WIDEST) + _MARGIN if lengths else 0


def _write_caption(
    draw: ImageDraw.ImageDraw, font: Font, caption: Sequence[str], place: tuple[int, int]
) -> None:
    """Name and count, one above the other, from the middle left on; long names are cut."""
    x, y = place
    for line, colour, offset in zip(caption, (_INK, _FAINT), (-1, 15), strict=False):
        text = drawable(line)
        while font.getlength(text) > _WIDEST:
            text = text.removesuffix("...")[:-1] + "..."
        draw.text((x, y + offset), text, colour, font, anchor="ls")
