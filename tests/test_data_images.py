"""Decoding and encoding of single images, and the transforms."""

from __future__ import annotations

import io
import struct

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


def test_photos_are_turned_upright() -> None:
    image = to_pillow(pixels(0, 8, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
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
    size = TRANSFORMS[name](image, target_width, target_height).size
    side = max(target_width, target_height)
    assert size == ((side, side) if name == "center-crop-wide" else (target_width, target_height))


@pytest.mark.parametrize("name", ["center-crop", "letterbox", "stretch"])
def test_transforms_keep_an_image_of_the_right_size(name: TransformName) -> None:
    image = pixels(0)
    assert np.array_equal(from_pillow(TRANSFORMS[name](to_pillow(image), 6, 4)), image)


def test_center_crop_takes_the_middle_undistorted() -> None:
    wide = pixels(0, 4, 10)
    assert np.array_equal(
        from_pillow(TRANSFORMS["center-crop"](to_pillow(wide), 4, 4)), wide[:, 3:7]
    )


def test_letterbox_shows_all_on_black() -> None:
    white = to_pillow(np.full((10, 20, 3), 255, np.uint8))
    boxed = from_pillow(TRANSFORMS["letterbox"](white, 8, 8))
    assert (boxed[2:6] == 255).all() and not boxed[:2].any() and not boxed[6:].any()


def test_center_crop_wide_is_a_crop_on_a_black_square() -> None:
    white = to_pillow(np.full((16, 16, 1), 255, np.uint8))
    wide = from_pillow(TRANSFORMS["center-crop-wide"](white, 8, 4))
    assert wide.shape == (8, 8, 1)
    assert (wide[2:6] == 255).all() and not wide[:2].any() and not wide[6:].any()


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    small = from_pillow(TRANSFORMS["stretch"](to_pillow(stripes), 8, 8))
    assert np.abs(small.astype(int) - 127).max() < 16
