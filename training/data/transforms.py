"""Ways to give an image a wanted size; all resize with Lanczos, antialiased."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from PIL import Image

TransformName = Literal["center-crop", "center-crop-wide", "letterbox", "stretch"]
Transform = Callable[[Image.Image, int, int], Image.Image]


def center_crop(image: Image.Image, width: int, height: int) -> Image.Image:
    """The largest centred part of shape width:height, resized to width x height."""
    crop_width = min(image.width, image.height * width / height)
    crop_height = min(image.height, image.width * height / width)
    left, top = (image.width - crop_width) / 2, (image.height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    return image.resize((width, height), Image.Resampling.LANCZOS, box)


def center_crop_wide(image: Image.Image, width: int, height: int) -> Image.Image:
    """`center_crop`, in the middle of a black square as long as the longer side."""
    side = max(width, height)
    return _on_black(center_crop(image, width, height), side, side)


def letterbox(image: Image.Image, width: int, height: int) -> Image.Image:
    """The whole image, as large as fits, in the middle of black."""
    scale = min(width / image.width, height / image.height)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    return _on_black(image.resize(size, Image.Resampling.LANCZOS), width, height)


def stretch(image: Image.Image, width: int, height: int) -> Image.Image:
    """The whole image, its sides resized each on its own."""
    return image.resize((width, height), Image.Resampling.LANCZOS)


TRANSFORMS: Mapping[TransformName, Transform] = {
    "center-crop": center_crop,
    "center-crop-wide": center_crop_wide,
    "letterbox": letterbox,
    "stretch": stretch,
}


def _on_black(image: Image.Image, width: int, height: int) -> Image.Image:
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas
