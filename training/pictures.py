"""Generated images as pictures to look at: 8-bit pixels, grids and files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from dnnlib import UserError
from dnnlib.files import atomic_path
from training.data.images import Pixels, to_pillow

PictureFormat = Literal["png", "jpg", "webp"]

MIN_CELL = 32  # pixels of a grid cell's shorter side, at least
_MAX_CAPTION = 24  # characters
# Limits of the file formats, pixels a side.
_MAX_SIDE = {"png": 2**31 - 1, "jpg": 65500, "webp": 16383}


def to_uint8(images: Tensor) -> Tensor:
    """Float `[N, C, H, W]` in -1..1 (clamped to it) → uint8 `[N, C, H, W]` in 0..255, nearest."""
    return (images.float() * 127.5 + 127.5).round_().clamp_(0, 255).to(torch.uint8)


def enlarge(images: Tensor, min_side: int) -> Tensor:
    """`[N, C, H, W]` repeated pixel for pixel until no side is shorter than `min_side` pixels."""
    factor = max(math.ceil(min_side / min(images.shape[2:])), 1)
    if factor == 1:
        return images
    return images.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)


def make_grid(
    images: Tensor, columns: int, captions: Sequence[str] = (), min_cell: int = MIN_CELL
) -> Pixels:
    """Images side by side, `columns` in a row, as one picture, uint8 `[H, W, C]`.

    Args:
        images: uint8 `[N, C, H, W]`, N at least 1; where the last row is not full, black follows.
        columns: images in a row.
        captions: one for each row, written to its left; none without.
        min_cell: smaller images are enlarged by a whole factor to this many pixels a side.
    """
    assert images.dtype == torch.uint8 and len(images) > 0 and columns > 0
    cells = enlarge(images.cpu(), min_cell)
    count, channels, height, width = cells.shape
    rows = math.ceil(count / columns)
    blank = cells.new_zeros(rows * columns - count, channels, height, width)
    table = torch.cat([cells, blank]).reshape(rows, columns, channels, height, width)
    pixels: Pixels = (
        table.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels).numpy()
    )
    if not captions:
        return pixels
    assert len(captions) == rows
    return np.concatenate([_caption_column(captions, height, channels), pixels], axis=1)


def save_image(path: Path, pixels: Pixels, text: Mapping[str, str] | None = None) -> None:
    """Write `pixels`, uint8 `[H, W, C]`, atomically; the suffix of `path` says the format.

    One channel is written as greyscale, four with transparency. A PNG also carries `text`, as
    keyword and value. Raises `UserError` where `path` cannot be written or its format cannot hold
    the picture: jpg with transparency, or more pixels a side than jpg or webp have.
    """
    suffix = path.suffix.lower().removeprefix(".")
    assert suffix in _MAX_SIDE
    if suffix == "jpg" and pixels.shape[2] == 4:
        raise UserError(f"{path}: jpg cannot hold the transparency of RGBA images; use png or webp")
    if max(pixels.shape[:2]) > _MAX_SIDE[suffix]:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise UserError(f"{path}: {size} pixels are more than {suffix} can hold; use png")
    image = to_pillow(pixels)
    with atomic_path(path) as temporary:
        if suffix == "png":
            image.save(temporary, "PNG", pnginfo=_png_text(text or {}))
        elif suffix == "jpg":
            image.save(temporary, "JPEG", quality=95, subsampling=0)
        else:
            image.save(temporary, "WEBP", quality=95)


def _png_text(text: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for keyword, value in text.items():
        info.add_text(keyword, value)
    return info


def _caption_column(captions: Sequence[str], row_height: int, channels: int) -> Pixels:
    """Captions below each other, white on black, uint8 `[len(captions) * row_height, W, C]`."""
    shown = [
        caption if len(caption) <= _MAX_CAPTION else caption[: _MAX_CAPTION - 2] + ".."
        for caption in captions
    ]
    size = min(max(row_height // 5, 11), 32)
    font = ImageFont.load_default(size)
    width = math.ceil(max(map(font.getlength, shown))) + size
    column = Image.new("L", (width, len(shown) * row_height))
    draw = ImageDraw.Draw(column)
    for row, caption in enumerate(shown):
        place = (width - size // 2, row * row_height + row_height // 2)
        draw.text(place, caption, fill=255, font=font, anchor="rm")
    pixels = np.repeat(np.asarray(column)[:, :, np.newaxis], channels, axis=2)
    if channels == 4:
        pixels[:, :, 3] = 255
    return pixels
