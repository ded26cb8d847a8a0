"""Pictures of a run with a slider through time, as HTML."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

_PIXELATED = 64  # images with fewer pixels a side are enlarged pixel for pixel
_PICTURE = re.compile(r'<img data-key="([^"<>]*)" src="data:image/webp;base64,([A-Za-z0-9+/=]*)"')


@dataclass(frozen=True)
class Picture:
    """A small picture (WebP), its key, and what it is."""

    key: str
    data: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class Reel:
    """Pictures of one kind in the order of time, and real images to compare them with."""

    name: str
    pictures: Sequence[Picture]
    rows: Sequence[str]  # their names
    image_side: int  # pixels of the longer side of an image, as it was trained on
    reals: Picture | None = None


def draw_reel(reel: Reel) -> str:
    """A reel as HTML. Without scripts it shows the last picture."""
    pixelated = " pixelated" if reel.image_side < _PIXELATED else ""
    last = len(reel.pictures) - 1
    pictures = [
        _image(picture, pixelated, shown=index == last)
        for index, picture in enumerate(reel.pictures)
    ]
    choice = ""
    if reel.reals is not None:
        pictures.append(_image(reel.reals, f"reals{pixelated}", shown=False))
        choice = '<label hidden><input type="checkbox"> real images</label>'
    labels = "".join(f'<span title="{escape(n)}">{escape(n)}</span>' for n in reel.rows)
    return "\n".join(
        [
            f'<div class="film" id="{reel.name}">',
            '<div class="controls">',
            f'<input type="range" min="0" max="{last}" value="{last}" aria-label="Moment" hidden>',
            f'<output class="when-shown">{escape(reel.pictures[-1].caption)}</output>{choice}',
            "</div>",
            '<div class="scroll" tabindex="0" role="group" aria-label="Pictures">',
            f'<div class="sheet"><div class="labels">{labels}</div>',
            '<div class="pictures">',
            *pictures,
            "</div></div></div></div>",
        ]
    )


def carried_pictures(page: str) -> dict[str, bytes]:
    """The small pictures that a page carries, by key."""
    return {key: base64.b64decode(data) for key, data in _PICTURE.findall(page)}


def _image(picture: Picture, style: str, shown: bool) -> str:
    width, height = Image.open(io.BytesIO(picture.data), formats=["WEBP"]).size
    return (
        f'<img data-key="{escape(picture.key)}" '
        f'src="data:image/webp;base64,{base64.b64encode(picture.data).decode()}" '
        f'alt="{escape(picture.alt)}" data-caption="{escape(picture.caption)}" '
        f'class="{style.strip()}" width="{width}" height="{height}"{"" if shown else " hidden"}>'
    )
