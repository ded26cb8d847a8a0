"""Words beside pictures, white on black, in the font that comes with Pillow."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.data.images import Pixels

_MAX_LENGTH = 24  # characters
_NOT_A_CHARACTER = "\uffff"  # drawn as the font's sign for what it lacks


def drawable(text: str) -> str:
    """`text` with each letter that the font lacks replaced by its base letter or by '?'.

    An accent goes with its letter, also where the two are apart, and ß becomes ss.
    """
    return "".join(map(_drawable_letter, unicodedata.normalize("NFC", text)))


def row_captions(captions: Sequence[str], row_height: int) -> Pixels:
    """Captions below each other, flush right, grey uint8 `[len(captions) * row_height, W, 1]`."""
    return _below_each_other(captions, row_height, flush_right=True)


def column_captions(captions: Sequence[str], column_width: int) -> Pixels:
    """Captions side by side, grey uint8 `[H, len(captions) * column_width, 1]`.

    Where one of them is wider than its column all are turned, to be read upwards.
    """
    shown, font = _shortened(captions), _font(column_width)
    margin = int(font.size) // 2
    if max(map(font.getlength, shown)) + margin > column_width:
        return np.rot90(_below_each_other(captions, column_width, flush_right=False)).copy()
    picture = Image.new("L", (len(shown) * column_width, int(font.size) + 2 * margin))
    draw = ImageDraw.Draw(picture)
    for column, caption in enumerate(shown):
        place = (column * column_width + column_width // 2, picture.height // 2)
        draw.text(place, caption, fill=255, font=font, anchor="mm")
    return np.asarray(picture)[:, :, np.newaxis]


def _below_each_other(captions: Sequence[str], row_height: int, flush_right: bool) -> Pixels:
    shown, font = _shortened(captions), _font(row_height)
    margin = int(font.size) // 2
    width = math.ceil(max(map(font.getlength, shown))) + 2 * margin
    picture = Image.new("L", (width, len(shown) * row_height))
    draw = ImageDraw.Draw(picture)
    x, anchor = (width - margin, "rm") if flush_right else (margin, "lm")
    for row, caption in enumerate(shown):
        draw.text((x, row * row_height + row_height // 2), caption, 255, font, anchor)
    return np.asarray(picture)[:, :, np.newaxis]


def _shortened(captions: Sequence[str]) -> list[str]:
    return [
        text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 2] + ".."
        for text in map(drawable, captions)
    ]


def _font(cell: int) -> ImageFont.FreeTypeFont:
    """The font in the size that suits pictures of `cell` pixels."""
    font = ImageFont.load_default(min(max(cell // 5, 11), 32))
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _drawable_letter(letter: str) -> str:
    base = "ss" if letter == "ß" else unicodedata.normalize("NFKD", letter)[0]
    return next((candidate for candidate in (letter, base) if _has(candidate)), "?")


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    font = _font(0)
    lacking = bytes(font.getmask(_NOT_A_CHARACTER))
    return bytes(font.getmask(letter)) != lacking and letter.isprintable()
