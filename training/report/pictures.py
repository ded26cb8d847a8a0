"""Small pictures of the sheets that a run draws, and which of them a page has room for."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dnnlib import UserError
from training.config import DataFacts
from training.data.images import Pixels, decode_image, to_pillow
from training.pictures import MIN_CELL
from training.samples import COLUMNS, NOISE_COLUMNS

REALS_FILE, INIT_FILE = "reals.png", "fakes_init.png"
_NUMBERED = re.compile(r"(?:fakes|noise)(\d{6,})\.png")

_FORMAT = 1  # of small pictures: a page with those of another format does not lend them
_MAX_CELL = 64  # pixels of the longer side of an image
_MAX_PIXELS = 600_000  # of a sheet
_QUALITIES = (80, 65, 50)  # of WebP


@dataclass(frozen=True)
class Film:
    """The pictures of one kind: how wide, how many and how large a page takes them."""

    glob: str
    columns: int
    most: int  # pictures
    most_bytes: int  # of each


FAKES = Film("fakes[0-9]*.png", COLUMNS, most=48, most_bytes=80_000)
NOISE = Film("noise[0-9]*.png", NOISE_COLUMNS, most=12, most_bytes=60_000)


@dataclass(frozen=True)
class Moment:
    """A picture file of a run and the thousands of images that the run had seen."""

    path: Path
    kimg: int


def film_of(name: str) -> Film:
    """Which kind of picture the file called `name` is."""
    return NOISE if name.startswith("noise") else FAKES


def moments(run_dir: Path, film: Film) -> list[Moment]:
    """The pictures of a film that a page shows: the first, the newest and some between.

    These are every 2^k-th; of a run that goes on they are among those shown before and the newest,
    so that a snapshot makes one small picture however long the run has been.
    """
    found = [
        Moment(path, int(match[1]))
        for path in run_dir.glob(film.glob)
        if (match := _NUMBERED.fullmatch(path.name))
    ]
    found.sort(key=lambda moment: moment.kimg)
    if film is FAKES and (run_dir / INIT_FILE).is_file():
        found.insert(0, Moment(run_dir / INIT_FILE, 0))
    return [found[index] for index in thinned(len(found), film.most)]


def thinned(count: int, most: int) -> list[int]:
    """At most `most` (2 or more) of the indices 0 to count - 1: multiples of a power of two, last.

    Those for count + 1 are among those for count and the new one.
    """
    stride = 1
    while len(indices := sorted({*range(0, count, stride), *range(count)[-1:]})) > most:
        stride *= 2
    return indices


def picture_key(path: Path) -> str:
    """What tells this state of a file from others: name, size and time of its last change."""
    status = path.stat()
    return f"{_FORMAT}:{path.name}:{status.st_size}:{status.st_mtime_ns}"


def small_picture(pixels: Pixels, film: Film, facts: DataFacts) -> bytes:
    """A sheet (uint8 `[H, W, C]`) without its captions as WebP of at most `film.most_bytes`.

    Every image has the same whole number of pixels, at most 64 a side. Raises `UserError` for a
    picture that is too small to be a sheet of these images.
    """
    factor = max(math.ceil(MIN_CELL / min(facts.width, facts.height)), 1)
    width, height = facts.width * factor, facts.height * factor
    rows = pixels.shape[0] // height
    left = pixels.shape[1] - film.columns * width
    if rows == 0 or left < 0:
        raise UserError(
            f"a picture of {pixels.shape[1]}x{pixels.shape[0]} pixels is no sheet of "
            f"{film.columns} images of {width}x{height} in a row"
        )
    sheet, box = to_pillow(pixels), (left, 0, left + film.columns * width, rows * height)
    room = math.sqrt(_MAX_PIXELS / (rows * film.columns * width * height))
    scale = min(_MAX_CELL / max(width, height), room, 1.0)
    while True:
        cell = max(round(width * scale), 1), max(round(height * scale), 1)
        small = sheet.resize(
            (cell[0] * film.columns, cell[1] * rows), Image.Resampling.BOX, box, reducing_gap=2.0
        )
        data = _encode(small, film.most_bytes)
        if len(data) <= film.most_bytes or cell == (1, 1):
            return data
        scale *= 0.75


def _encode(image: Image.Image, most_bytes: int) -> bytes:
    """WebP in the best quality that `most_bytes` allow, or else the least."""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=quality)
        if buffer.tell() <= most_bytes:
            break
    return buffer.getvalue()


def read_small_picture(path: Path, facts: DataFacts) -> bytes:
    """`small_picture` of a file. Raises `UserError` where it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return small_picture(decode_image(data, str(path)), film_of(path.name), facts)


def shown_pictures(run_dir: Path) -> Iterator[Path]:
    """The files that a page of the run shows as they are now."""
    if (run_dir / REALS_FILE).is_file():
        yield run_dir / REALS_FILE
    for film in (FAKES, NOISE):
        yield from (moment.path for moment in moments(run_dir, film))
