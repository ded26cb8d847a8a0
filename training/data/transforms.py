"""Ways to give an image a wanted size, channels and background."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from PIL import Image

from dnnlib import UserError

TransformName = Literal["center-crop", "center-crop-wide", "letterbox", "stretch"]
FilterName = Literal["lanczos", "bicubic", "box"]
ChannelsName = Literal["grey", "rgb", "rgba"]
Transform = Callable[[Image.Image, int, int, Image.Resampling], Image.Image]

# All of them antialias: the filter grows with the scale when an image is made smaller.
FILTERS: Mapping[FilterName, Image.Resampling] = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
}
MODES: Mapping[ChannelsName, str] = {"grey": "L", "rgb": "RGB", "rgba": "RGBA"}


def center_crop(
    image: Image.Image, width: int, height: int, resampling: Image.Resampling
) -> Image.Image:
    """The largest centred part of shape width:height, resized to width x height."""
    crop_width = min(image.width, image.height * width / height)
    crop_height = min(image.height, image.width * height / width)
    left, top = (image.width - crop_width) / 2, (image.height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    return image.resize((width, height), resampling, box)


def center_crop_wide(
    image: Image.Image, width: int, height: int, resampling: Image.Resampling
) -> Image.Image:
    """`center_crop`, in the middle of a black square as long as the longer side."""
    side = max(width, height)
    return _on_black(center_crop(image, width, height, resampling), side, side)


def letterbox(
    image: Image.Image, width: int, height: int, resampling: Image.Resampling
) -> Image.Image:
    """The whole image, as large as fits, in the middle of black."""
    scale = min(width / image.width, height / image.height)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    return _on_black(image.resize(size, resampling), width, height)


def stretch(
    image: Image.Image, width: int, height: int, resampling: Image.Resampling
) -> Image.Image:
    """The whole image, its sides resized each on its own."""
    return image.resize((width, height), resampling)


TRANSFORMS: Mapping[TransformName, Transform] = {
    "center-crop": center_crop,
    "center-crop-wide": center_crop_wide,
    "letterbox": letterbox,
    "stretch": stretch,
}


def on_colour(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """An RGBA image on a plain `colour`, red, green and blue in 0..255; others as they are."""
    if image.mode != "RGBA":
        return image
    canvas = Image.new("RGB", image.size, colour)
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def with_channels(image: Image.Image, channels: ChannelsName) -> Image.Image:
    """A grey, RGB or RGBA image in the mode that `channels` names.

    Grey is the luma of ITU-R 601-2; an alpha channel that is added is opaque. Raises `UserError`
    where that would drop an alpha channel.
    """
    if image.mode == "RGBA" and channels != "rgba":
        raise UserError(
            f"is RGBA, and --channels {channels} has no place for its transparency; say on which "
            "colour it shall lie, as with --alpha white"
        )
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


def _on_black(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas
