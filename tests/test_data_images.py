"""Decoding and encoding of single images, and the transforms."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from data_helpers import UNHURRIED, pillow_bytes, pixels, png
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dnnlib import UserError
from training.data.images import decode_image, encode_image, from_pillow, to_pillow
from training.data.transforms import TRANSFORMS, TransformName

SIDE = st.integers(1, 40)
LANCZOS = Image.Resampling.LANCZOS


@UNHURRIED
@given(SIDE, SIDE, st.sampled_from([1, 3, 4]))
def test_png_keeps_every_pixel(height: int, width: int, channels: int) -> None:
    image = pixels(height * width, height, width, channels)
    assert np.array_equal(decode_image(encode_image(image, "png"), "a.png"), image)


def test_jpeg_is_close_and_refuses_transparency() -> None:
    smooth = np.linspace(0, 255, 64, dtype=np.uint8).reshape(8, 8, 1).repeat(3, axis=2)
    decoded = decode_image(encode_image(smooth, "jpeg"), "a.jpg")
    assert np.abs(decoded.astype(int) - smooth).max() < 16
    with pytest.raises(UserError, match="jpeg"):
        encode_image(pixels(0, channels=4), "jpeg")


@pytest.mark.parametrize(
    ("mode", "image_format", "channels"),
    [
        ("P", "PNG", 3),
        ("LA", "PNG", 4),
        ("1", "PNG", 1),
        ("CMYK", "JPEG", 3),
        ("L", "JPEG", 1),
        ("RGB", "BMP", 3),
        ("RGBA", "WEBP", 4),
    ],
)
def test_other_modes_become_grey_rgb_or_rgba(mode: str, image_format: str, channels: int) -> None:
    image = to_pillow(pixels(0, channels=max(channels, 3))).convert(mode)
    assert decode_image(pillow_bytes(image, image_format), "a").shape == (4, 6, channels)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = pixels(0, channels=1)[:, :, 0]
    data = pillow_bytes(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    assert np.array_equal(decode_image(data, "a.png")[:, :, 0], grey)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_rounded_to_eight(image_format: str) -> None:
    wide = np.array([[0, 128, 129, 385, 386, 32896, 65406, 65535]], np.uint16)
    data = pillow_bytes(Image.fromarray(wide), image_format)
    expected = np.rint(wide / 65535 * 255).astype(np.uint8)
    assert np.array_equal(decode_image(data, "a")[:, :, 0], expected)


def test_numbers_of_unknown_range_are_refused() -> None:
    for mode in ("I", "F"):
        with pytest.raises(UserError, match=r"a\.tif.*32-bit numbers"):
            decode_image(pillow_bytes(Image.new(mode, (4, 4)), "TIFF"), "a.tif")


def test_twelve_bit_greymaps_fill_the_range() -> None:
    data = b"P5 3 1 4095 " + struct.pack(">HHH", 0, 2048, 4095)
    assert decode_image(data, "a.pgm").ravel().tolist() == [0, 128, 255]


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_give_their_first_frame(image_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    buffer = io.BytesIO()
    options = {"lossless": True} if image_format == "WEBP" else {}
    frames[0].save(buffer, image_format, save_all=True, append_images=frames[1:], **options)
    assert decode_image(buffer.getvalue(), "a")[3, 3].tolist() == [250, 0, 0]


def test_chunks_that_pyspng_skips_are_heeded() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 2), (9, 8, 7)).save(buffer, "PNG", transparency=(9, 8, 7))
    assert decode_image(buffer.getvalue(), "a.png")[0, 0].tolist() == [9, 8, 7, 0]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


EXIF = Image.Exif()
EXIF[0x0112] = 6
PROFILE = f"\nexif\n{len(EXIF.tobytes()):8}\n{EXIF.tobytes().hex()}\n".encode()  # ImageMagick's
ORIENTED = {
    "EXIF": chunk(b"eXIf", EXIF.tobytes().removeprefix(b"Exif\0\0")),
    "profile": chunk(b"tEXt", b"Raw profile type exif\0" + PROFILE),
    "packed profile": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE)),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b'<a tiff:Orientation="6"/>'),
}


@pytest.mark.parametrize("case", ORIENTED)
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_png_is_turned_upright_wherever_it_tells_its_orientation(case: str, before: bytes) -> None:
    data = png(0)
    place = data.index(before) - 4
    data = data[:place] + ORIENTED[case] + data[place:]
    assert np.array_equal(decode_image(data, "a.png"), np.rot90(pixels(0), -1))


def test_files_that_would_start_other_programs_are_refused() -> None:
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    with pytest.raises(UserError, match=r"a\.png: is not a readable image \(its content is none"):
        decode_image(data, "a.png")


def test_png_is_packed() -> None:
    """Within a tenth of what zlib's best level takes, on pictures of both kinds."""
    rng = np.random.default_rng(0)
    photo = np.cumsum(rng.integers(-4, 5, (64, 64, 3)), axis=1).clip(-99, 99) + 128
    drawing = np.zeros((64, 64, 3)) + (np.hypot(*np.mgrid[-32:32, -32:32]) < 25)[..., None] * 200
    for image in (photo.astype(np.uint8), drawing.astype(np.uint8)):
        best = io.BytesIO()
        to_pillow(image).save(best, "PNG", compress_level=9)
        assert len(encode_image(image, "png")) < 1.1 * best.tell() + 32


def test_photos_are_turned_upright() -> None:
    image = to_pillow(pixels(0, 8, 16))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=EXIF)
    assert decode_image(buffer.getvalue(), "a.jpg").shape == (16, 8, 3)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "BMP"])
def test_broken_and_truncated_files_are_named(image_format: str) -> None:
    data = pillow_bytes(to_pillow(pixels(0, 32, 32)), image_format)
    for end in (0, 10, len(data) // 2):
        with pytest.raises(UserError, match=r"^cat/a\.png: is not a readable image"):
            decode_image(data[:end], "cat/a.png")


@pytest.mark.parametrize("size", [(60000, 60000), (9000, 8000)])
def test_decompression_bombs_are_refused_unread(size: tuple[int, int]) -> None:
    data = png(0)
    bomb = data[:16] + struct.pack(">II", *size) + data[24:]
    with pytest.raises(UserError, match=f"{size[0]}x{size[1]} pixels"):
        decode_image(bomb, "a.png")
    data = pillow_bytes(to_pillow(pixels(0)), "BMP")
    bomb = data[:18] + struct.pack("<ii", *size) + data[26:]
    with pytest.raises(UserError, match=r"a\.bmp: has .* pixels"):
        decode_image(bomb, "a.bmp")


@UNHURRIED
@given(SIDE, SIDE, SIDE, SIDE, st.sampled_from(sorted(TRANSFORMS)))
def test_transforms_give_the_size_asked_for(
    height: int, width: int, target_height: int, target_width: int, name: TransformName
) -> None:
    image = to_pillow(pixels(0, height, width))
    size = TRANSFORMS[name](image, target_width, target_height, LANCZOS).size
    side = max(target_width, target_height)
    assert size == ((side, side) if name == "center-crop-wide" else (target_width, target_height))


@pytest.mark.parametrize("name", ["center-crop", "letterbox", "stretch"])
def test_transforms_keep_an_image_of_the_right_size(name: TransformName) -> None:
    image = pixels(0)
    assert np.array_equal(from_pillow(TRANSFORMS[name](to_pillow(image), 6, 4, LANCZOS)), image)


def test_center_crop_takes_the_middle_undistorted() -> None:
    wide = pixels(0, 4, 10)
    assert np.array_equal(
        from_pillow(TRANSFORMS["center-crop"](to_pillow(wide), 4, 4, LANCZOS)), wide[:, 3:7]
    )


def test_letterbox_shows_all_on_black() -> None:
    white = to_pillow(np.full((10, 20, 3), 255, np.uint8))
    boxed = from_pillow(TRANSFORMS["letterbox"](white, 8, 8, LANCZOS))
    assert (boxed[2:6] == 255).all() and not boxed[:2].any() and not boxed[6:].any()


def test_center_crop_wide_is_a_crop_on_a_black_square() -> None:
    white = to_pillow(np.full((16, 16, 1), 255, np.uint8))
    wide = from_pillow(TRANSFORMS["center-crop-wide"](white, 8, 4, LANCZOS))
    assert wide.shape == (8, 8, 1)
    assert (wide[2:6] == 255).all() and not wide[:2].any() and not wide[6:].any()


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    small = from_pillow(TRANSFORMS["stretch"](to_pillow(stripes), 8, 8, LANCZOS))
    assert np.abs(small.astype(int) - 127).max() < 16
