"""Small pictures of sheets, and which of them a page has room for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from network_helpers import tiny_config
from PIL import Image

from dnnlib import UserError
from training.data.images import Pixels
from training.pictures import make_grid
from training.report.pictures import FAKES, NOISE, Film, moments, small_picture, thinned
from training.samples import COLUMNS


def decoded(data: bytes) -> Pixels:
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return np.asarray(image)


@given(st.integers(0, 2000), st.integers(2, 50))
def test_what_a_page_shows_is_what_it_showed_and_the_newest(count: int, most: int) -> None:
    before, after = thinned(count, most), thinned(count + 1, most)
    assert set(after) <= {*before, count}
    assert len(after) <= most and after == sorted(set(after))
    assert after[0] == 0 and after[-1] == count
    if count + 1 <= most:
        assert after == list(range(count + 1))
    else:  # evenly over the whole run
        gaps = np.diff(after[:-1])
        assert len(after) > most / 2 and (len(gaps) == 0 or set(gaps) == {gaps[0]})


def test_moments_go_from_the_start_to_the_newest(tmp_path: Path) -> None:
    assert moments(tmp_path, FAKES) == []
    names = ("fakes000010.png", "fakes000002.png", "fakes1234567.png", "fakes_init.png")
    for name in (*names, "noise000002.png", "fakes.png", "fakes0.png", "fakes000003.jpg"):
        (tmp_path / name).touch()
    found = moments(tmp_path, FAKES)
    assert [each.path.name for each in found] == [names[3], names[1], names[0], names[2]]
    assert [each.kimg for each in found] == [0, 2, 10, 1234567]
    assert [each.kimg for each in moments(tmp_path, NOISE)] == [2]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (16, 16), (64, 64), (160, 128)])
def test_a_small_picture_is_the_sheet_without_its_captions(
    channels: int, size: tuple[int, int]
) -> None:
    config = tiny_config(num_channels=channels, size=size)
    greys = torch.arange(3 * COLUMNS, dtype=torch.uint8) * 7
    images = greys[:, None, None, None].expand(-1, channels, size[1], size[0]).clone()
    images[:, 3:] = 128  # half transparent
    sheet = make_grid(images, COLUMNS, ("a", "a much longer name", "c"))
    small = decoded(small_picture(sheet, FAKES, config.facts))
    height, width = small.shape[0] // 3, small.shape[1] // COLUMNS
    assert small.shape[:2] == (3 * height, COLUMNS * width)
    assert width / height == pytest.approx(size[0] / size[1], rel=0.05)
    assert max(width, height) == {8: 32, 16: 32}.get(size[0], 64)
    middles = small[height // 2 :: height, width // 2 :: width, 0].flatten()
    assert np.abs(middles.astype(int) - greys.numpy()).max() <= 4
    assert small.shape[2] == (4 if channels == 4 else 3)
    assert channels != 4 or set(small[:, :, 3].flatten()) == {128}


def test_every_picture_keeps_its_bytes_and_whole_images() -> None:
    facts = tiny_config((), num_channels=3, size=(64, 64)).facts
    random = np.random.default_rng(0)
    sheet = random.integers(0, 256, (8 * 64, 12 * 64, 3), dtype=np.uint8)
    for most_bytes in (80_000, 8_000, 10):
        film = Film("*", COLUMNS, 10, most_bytes)
        data = small_picture(sheet, film, facts)
        height, width = decoded(data).shape[:2]
        assert width % COLUMNS == 0 and height % 8 == 0
        assert len(data) <= most_bytes or (height, width) == (8, COLUMNS)


def test_a_picture_that_is_no_sheet_is_refused() -> None:
    facts = tiny_config(size=(64, 64)).facts
    for shape in ((63, 12 * 64, 3), (64, 12 * 64 - 1, 3)):
        with pytest.raises(UserError, match="is no sheet of 12 images of 64x64"):
            small_picture(np.zeros(shape, dtype=np.uint8), FAKES, facts)
