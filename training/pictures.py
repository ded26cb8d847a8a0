"""Generated images as pictures to look at: 8-bit pixels, grids and files."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from PIL import ExifTags, Image, PngImagePlugin
from torch import Tensor

from dnnlib import UserError
from dnnlib.files import write_bytes
from training.captions import column_captions, row_captions
from training.data.images import Pixels, to_pillow

PictureFormat = Literal["png", "jpg", "webp"]

MIN_CELL = 32  # pixels of a grid cell's shorter side, at least
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
    images: Tensor,
    columns: int,
    captions: Sequence[str] = (),
    min_cell: int = MIN_CELL,
    heads: Sequence[str] = (),
) -> Pixels:
    """Images side by side, `columns` in a row, as one picture, uint8 `[H, W, C]`.

    Args:
        images: uint8 `[N, C, H, W]`, N at least 1; where the last row is not full, black follows.
        columns: images in a row.
        captions: one for each row, written to its left; none without.
        min_cell: smaller images are enlarged by a whole factor to this many pixels a side.
        heads: a caption for each column, written above it; none without.
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
    assert len(captions) in (0, rows) and len(heads) in (0, columns)
    if heads:
        pixels = np.concatenate([_with_channels(column_captions(heads, width), channels), pixels])
    if captions:
        beside = row_captions(captions, height)
        above = pixels.shape[0] - len(beside)
        beside = np.pad(beside, ((above, 0), (0, 0), (0, 0)))
        pixels = np.concatenate([_with_channels(beside, channels), pixels], axis=1)
    return pixels


def save_image(path: Path, pixels: Pixels, facts: Mapping[str, object] | None = None) -> None:
    """Write `pixels`, uint8 `[H, W, C]`, atomically; the suffix of `path` says the format.

    Raises `UserError` where `path` cannot be written or its format cannot hold the picture, see
    `encode_picture`.
    """
    suffix = path.suffix.lower().removeprefix(".")
    assert suffix in _MAX_SIDE
    write_bytes(path, encode_picture(pixels, cast(PictureFormat, suffix), facts, str(path)))


def encode_picture(
    pixels: Pixels,
    picture_format: PictureFormat,
    facts: Mapping[str, object] | None = None,
    name: str = "picture",
) -> bytes:
    """A file's bytes of `pixels`, uint8 `[H, W, C]`; one channel is grey, four are RGBA.

    `facts` tell how the picture was made: in a PNG as keywords and values (JSON but for words), in
    the others as JSON in the EXIF description. `name` stands for the file in errors. Raises
    `UserError` for what a format cannot hold: jpg no transparency, jpg and webp no more pixels a
    side than they have.
    """
    if picture_format == "jpg" and pixels.shape[2] == 4:
        raise UserError(f"{name}: jpg cannot hold the transparency of RGBA images; use png or webp")
    if max(pixels.shape[:2]) > _MAX_SIDE[picture_format]:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise UserError(f"{name}: {size} pixels are more than {picture_format} can hold; use png")
    image, buffer = to_pillow(pixels), io.BytesIO()
    if picture_format == "png":
        image.save(buffer, "PNG", pnginfo=_png_text(facts or {}))
    elif picture_format == "jpg":
        image.save(buffer, "JPEG", quality=95, subsampling=0, exif=_exif(facts))
    else:
        image.save(buffer, "WEBP", quality=95, exif=_exif(facts))
    return buffer.getvalue()


def _png_text(facts: Mapping[str, object]) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for keyword, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        info.add_text(keyword, text)
    return info


def _exif(facts: Mapping[str, object] | None) -> Image.Exif:
    exif = Image.Exif()
    if facts:
        exif[ExifTags.Base.ImageDescription] = json.dumps(facts)  # ASCII, as EXIF demands
    return exif


def _with_channels(grey: Pixels, channels: int) -> Pixels:
    """Grey `[H, W, 1]` as `[H, W, channels]`, opaque."""
    pixels = np.repeat(grey, channels, axis=2)
    if channels == 4:
        pixels[:, :, 3] = 255
    return pixels
