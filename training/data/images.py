"""Single images: file bytes to arrays and back."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Literal

import numpy as np
import pyspng
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dnnlib import UserError

Pixels = NDArray[np.uint8]
Format = Literal["png", "jpeg"]

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
EXTENSIONS: dict[Format, str] = {"png": ".png", "jpeg": ".jpg"}
MAX_PIXELS = 2**26

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# PNG colour types that pyspng hands over unchanged at eight bits a channel.
_PYSPNG_FORMATS = {0: "L", 2: "RGB", 6: "RGBA"}

# Every size is held against MAX_PIXELS before decoding; Pillow's own warning would only repeat it.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def decode_image(data: bytes, name: str) -> Pixels:
    """Pixels of an image file, uint8 `[H, W, C]` in 0..255 with C = 1 (grey), 3 (RGB) or 4 (RGBA).

    PNG goes through pyspng, everything else, and PNG with a palette or other than eight bits,
    through Pillow; the EXIF orientation is applied. `name` stands for the file in errors. Raises
    `UserError` for files that are broken, truncated or larger than `MAX_PIXELS`.
    """
    try:
        pixels = _decode_png(data, name)
        return _decode_with_pillow(data, name) if pixels is None else pixels
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"{name}: has more than {MAX_PIXELS} pixels; shrink or remove it") from None
    # Decoders raise whatever their parsers stumble over: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise UserError(f"{name}: is not a readable image ({error}); mend or remove it") from error


def encode_image(pixels: Pixels, image_format: Format) -> bytes:
    """File bytes of `pixels`, uint8 `[H, W, C]`; PNG as small as it gets, JPEG at quality 95.

    Equal pixels give equal bytes. Raises `UserError` for JPEG with four channels.
    """
    if image_format == "jpeg" and pixels.shape[2] == 4:
        raise UserError("--format jpeg cannot hold the transparency of RGBA images; use png")
    buffer = io.BytesIO()
    if image_format == "png":
        to_pillow(pixels).save(buffer, "PNG", optimize=True)
    else:
        to_pillow(pixels).save(buffer, "JPEG", quality=95, subsampling=0, optimize=True)
    return buffer.getvalue()


def to_pillow(pixels: Pixels) -> Image.Image:
    """A Pillow image (L, RGB or RGBA) of `pixels`, uint8 `[H, W, C]`."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def from_pillow(image: Image.Image) -> Pixels:
    """uint8 `[H, W, C]` of a Pillow image whose mode is L, RGB or RGBA."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def _decode_png(data: bytes, name: str) -> Pixels | None:
    """Pixels of a plain PNG, None for any other file."""
    if not data.startswith(_PNG_SIGNATURE) or len(data) < 33:
        return None
    width, height, depth, colour_type = struct.unpack(">IIBB", data[16:26])
    _check_size(width, height, name)
    if depth != 8 or colour_type not in _PYSPNG_FORMATS:
        return None
    pixels: Pixels = pyspng.load(data, _PYSPNG_FORMATS[colour_type])
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def _decode_with_pillow(data: bytes, name: str) -> Pixels:
    with Image.open(io.BytesIO(data)) as opened:
        _check_size(*opened.size, name)
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):
            return (np.asarray(image) >> 8).astype(np.uint8)[:, :, np.newaxis]
        return from_pillow(image.convert(_plain_mode(image)))


def _plain_mode(image: Image.Image) -> str:
    """The mode among L, RGB and RGBA that keeps what the image holds."""
    if image.mode in {"1", "L"}:
        return "L"
    if image.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in image.info:
        return "RGBA"
    if image.mode in {"I", "F"}:
        raise ValueError(f"its pixels are 32-bit numbers, mode {image.mode}")
    return "RGB"


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{name}: has {width}x{height} pixels, at most {MAX_PIXELS} are allowed; "
            "shrink or remove it"
        )
