"""Single images: file bytes to arrays and back."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Literal

import numpy as np
import pyspng
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

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
# What of a PNG changes what is seen and only Pillow heeds: chunks, and keywords of text chunks.
_PILLOW_CHUNKS = frozenset({b"tRNS", b"eXIf"})
_PILLOW_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
# Pillow knows more formats, some of which start other programs to read a file. Naming the plugins
# here also loads them, which opening a file of a named format does not.
_PLUGINS = {
    ".png": PngImagePlugin.PngImageFile,
    ".jpg": JpegImagePlugin.JpegImageFile,
    ".webp": WebPImagePlugin.WebPImageFile,
    ".bmp": BmpImagePlugin.BmpImageFile,
    ".gif": GifImagePlugin.GifImageFile,
    ".tif": TiffImagePlugin.TiffImageFile,
    ".ppm": PpmImagePlugin.PpmImageFile,
}
_PILLOW_FORMATS = tuple(str(plugin.format) for plugin in _PLUGINS.values())

# Every size is held against MAX_PIXELS before decoding; Pillow's own warning would only repeat it.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
# What it says of odd tags is of no use to who cannot mend them: the pixels are there, or an error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def decode_image(data: bytes, name: str) -> Pixels:
    """Pixels of an image file, uint8 `[H, W, C]` in 0..255 with C = 1 (grey), 3 (RGB) or 4 (RGBA).

    The first frame of an animation, turned as its EXIF or XMP orientation says; 16 bits are scaled
    to 8, palettes are looked up, CMYK becomes RGB. Plain PNG goes through pyspng, all else through
    Pillow. `name` stands for the file in errors. Raises `UserError` for files that are broken,
    truncated or larger than `MAX_PIXELS`.
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
        raise _unreadable(name, error) from error


def encode_image(pixels: Pixels, image_format: Format, quality: int = 95) -> bytes:
    """File bytes of `pixels`, uint8 `[H, W, C]`, see `encode_pillow`."""
    return encode_pillow(to_pillow(pixels), image_format, quality)


def encode_pillow(image: Image.Image, image_format: Format, quality: int = 95) -> bytes:
    """File bytes of an image whose mode is L, RGB or RGBA, without metadata.

    PNG is packed by run lengths: about as small as by zlib's best level, and 1.4 to 2.3 times as
    fast (docs/data.md, "How PNG is packed"). JPEG has `quality` 1..100 and full colour resolution
    (4:4:4). Equal pixels give equal bytes. Raises `UserError` for JPEG with four channels.
    """
    buffer = io.BytesIO()
    if image_format == "png":
        image.save(buffer, "PNG", compress_type=zlib.Z_RLE)
        return buffer.getvalue()
    if image.mode == "RGBA":
        raise UserError(
            "--format jpeg cannot hold the transparency of RGBA images; use png, or give them a "
            "background with --alpha"
        )
    image.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


def image_suffix(data: bytes, name: str) -> str:
    """'.png', '.jpg', ... for the bytes of an image file; `name` stands for it in errors."""
    try:
        with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as opened:
            # A JPEG with several pictures, as some cameras write, opens as a kind of its own.
            return next(suffix for suffix, kind in _PLUGINS.items() if isinstance(opened, kind))
    except Exception as error:
        raise _unreadable(name, error) from error


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
    if depth != 8 or colour_type not in _PYSPNG_FORMATS or _is_for_pillow(data):
        return None
    pixels: Pixels = pyspng.load(data, _PYSPNG_FORMATS[colour_type])
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def _is_for_pillow(data: bytes) -> bool:
    """Whether a PNG has what only Pillow heeds, before its pixels or after them."""
    place = len(_PNG_SIGNATURE)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind in _PILLOW_CHUNKS or data.startswith(_PILLOW_TEXTS, place + 8):
            return True
        place += length + 12
    return False


def _decode_with_pillow(data: bytes, name: str) -> Pixels:
    with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as opened:
        _check_size(*opened.size, name)
        image = ImageOps.exif_transpose(opened)
        # Pillow scales the numbers of a deep PGM to 16 bits, in a mode made for 32.
        if image.mode.startswith("I;16") or (image.mode == "I" and opened.format == "PPM"):
            wide = np.asarray(image).astype(np.uint32)
            return ((wide + 128) // 257).astype(np.uint8)[:, :, np.newaxis]
        return from_pillow(image.convert(_plain_mode(image)))


def _plain_mode(image: Image.Image) -> str:
    """The mode among L, RGB and RGBA that keeps what the image holds."""
    if image.mode in {"1", "L"}:
        return "L"
    if image.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in image.info:
        return "RGBA"
    if image.mode in {"I", "F"}:
        raise ValueError("its pixels are 32-bit numbers, whose range is unknown")
    return "RGB"


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{name}: has {width}x{height} pixels, at most {MAX_PIXELS} are allowed; "
            "shrink or remove it"
        )


def _unreadable(name: str, error: Exception) -> UserError:
    reason = (
        f"its content is none of {', '.join(_PILLOW_FORMATS)}"
        if isinstance(error, UnidentifiedImageError)
        else error
    )
    return UserError(f"{name}: is not a readable image ({reason}); mend or remove it")
