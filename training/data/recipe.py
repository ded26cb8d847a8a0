"""What becomes of each image on its way into a data set."""

from __future__ import annotations

import math
import zlib
from typing import Annotated, Literal, NamedTuple

from PIL import Image, ImageColor
from pydantic import Field

from dnnlib import Config, UserError
from training.data.images import (
    EXTENSIONS,
    MAX_PIXELS,
    decode_image,
    encode_pillow,
    image_suffix,
    to_pillow,
)
from training.data.sources import Source
from training.data.transforms import (
    FILTERS,
    TRANSFORMS,
    ChannelsName,
    FilterName,
    TransformName,
    on_colour,
    with_channels,
)

PositiveInt = Annotated[int, Field(ge=1)]
OutputFormat = Literal["png", "jpeg", "keep"]
DEFAULT_QUALITY = 95


class Recipe(Config):
    """Size, channels and file format that all images shall have.

    `resolution` is (width, height), None keeps each image's own; what else is None is as its
    description says.
    """

    resolution: tuple[PositiveInt, PositiveInt] | None = None
    transform: TransformName | None = Field(
        None, description="How images get the size of --resolution. [center-crop]"
    )
    resize: FilterName | None = Field(
        None, description="Filter that resizes, always antialiased. [lanczos]"
    )
    alpha: str | None = Field(
        None,
        description="A colour to lay images with transparency on: white, #80ff00. [kept as RGBA]",
    )
    channels: ChannelsName | None = Field(
        None, description="What all images become. [as they are, which must be alike]"
    )
    format: OutputFormat = Field(
        "png", description="Of the files; keep takes them as they are, unchanged. [png]"
    )
    quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description=f"Of JPEG files, 1 to 100. [{DEFAULT_QUALITY}]"
    )


class Packed(NamedTuple):
    """An image as it goes into the data set: its file and that file's CRC-32, the (H, W, C) of
    the image, and the file's suffix."""

    data: bytes
    crc: int
    shape: tuple[int, int, int]
    suffix: str


def check_recipe(recipe: Recipe) -> None:
    """Raise `UserError` for options that do not go together."""
    if recipe.resolution is None:
        for name, value in (("transform", recipe.transform), ("resize", recipe.resize)):
            if value is not None:
                raise UserError(f"--{name} {value}: needs a size to aim at; add --resolution")
    elif math.prod(recipe.resolution) > MAX_PIXELS:
        width, height = recipe.resolution
        raise UserError(
            f"--resolution {width}x{height}: has more than {MAX_PIXELS} pixels; choose fewer"
        )
    if recipe.format == "keep":
        for name in ("transform", "resize", "alpha", "channels"):
            if (value := getattr(recipe, name)) is not None:
                raise UserError(
                    f"--{name} {value}: changes images, which --format keep does not; drop it, or "
                    "use --format png"
                )
    if recipe.quality is not None and recipe.format != "jpeg":
        raise UserError(f"--quality {recipe.quality}: is for --format jpeg; drop it or add that")
    if recipe.alpha is not None:
        _colour(recipe.alpha)


def pack(recipe: Recipe, source: Source, index: int) -> Packed | UserError:
    """Read, change and encode image `index`; what is wrong with it is a value, told in order."""
    try:
        held = source.fetch(index)
        if recipe.format == "keep":
            return _keep(held, recipe.resolution, source.where(index))
        pixels = decode_image(held, source.where(index)) if isinstance(held, bytes) else held
    except UserError as error:
        return error
    try:
        image = _cook(to_pillow(pixels), recipe)
        data = encode_pillow(image, recipe.format, recipe.quality or DEFAULT_QUALITY)
    except UserError as error:
        return UserError(f"{source.where(index)}: {error}")
    return Packed(data, zlib.crc32(data), _shape(image), EXTENSIONS[recipe.format])


def _cook(image: Image.Image, recipe: Recipe) -> Image.Image:
    if recipe.alpha is not None:
        image = on_colour(image, _colour(recipe.alpha))
    if recipe.channels is not None:
        image = with_channels(image, recipe.channels)
    if recipe.resolution is not None:
        transform = TRANSFORMS[recipe.transform or "center-crop"]
        image = transform(image, *recipe.resolution, FILTERS[recipe.resize or "lanczos"])
    return image


def _keep(held: object, resolution: tuple[int, int] | None, where: str) -> Packed:
    """The file as it is, once it is known to be whole."""
    if not isinstance(held, bytes):
        raise UserError(
            f"{where}: is held as pixels and not as a file that --format keep could take; use "
            "--format png"
        )
    shape = _shape(to_pillow(decode_image(held, where)))
    if resolution is not None and resolution != (shape[1], shape[0]):
        raise UserError(
            f"{where}: is {shape[1]}x{shape[0]} and would have to be resized to "
            f"{resolution[0]}x{resolution[1]}, but --format keep takes files as they are; use "
            "--format png"
        )
    return Packed(held, zlib.crc32(held), shape, image_suffix(held, where))


def _shape(image: Image.Image) -> tuple[int, int, int]:
    return image.height, image.width, len(image.getbands())


def _colour(text: str) -> tuple[int, int, int]:
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise UserError(
            f"--alpha {text}: takes a colour such as white, black or #80ff00; leave it out to keep "
            "the transparency"
        ) from None
    return red, green, blue
