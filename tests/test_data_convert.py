"""What conversion makes of images: size, channels, background, file format; the contact sheet."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from data_helpers import converted, error_line, pillow_bytes, pixels, png, tool, write_folder
from PIL import Image

from dnnlib import RunError, UserError
from dnnlib.logs import setup_logging
from training.data.images import decode_image, image_suffix, to_pillow
from training.data.parallel import WorkerDiedError, Workers
from training.data.report import log_left_out

RED, HALF = (255, 0, 0), 128


def rgba(alpha: int) -> bytes:
    """A red picture with the same transparency everywhere."""
    return pillow_bytes(Image.new("RGBA", (6, 4), (*RED, alpha)), "PNG")


def test_transparency_is_kept_or_laid_on_a_colour(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", {"a.png": rgba(HALF), "b.png": rgba(0)})
    kept = converted(source, tmp_path / "kept.zip")
    assert kept.shape == (4, 6, 4) and kept.read(0)[0, 0].tolist() == [*RED, HALF]
    laid = converted(source, tmp_path / "laid.zip", "--alpha", "#0000ff")
    assert laid.shape == (4, 6, 3)
    assert np.abs(laid.read(0)[1, 2].astype(int) - [128, 0, 127]).max() <= 1
    assert laid.read(1)[3, 5].tolist() == [0, 0, 255]


def test_transparent_colours_do_not_bleed_when_resized(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 4), np.uint8)
    image[:, :4] = [0, 255, 0, 255]  # green, beside red that is not there
    image[:, 4:] = [255, 0, 0, 0]
    source = write_folder(
        tmp_path / "source", {"a.png": pillow_bytes(Image.fromarray(image), "PNG")}
    )
    small = converted(source, tmp_path / "a.zip", "--resolution", 4).read(0)
    seen = small[small[..., 3] > 0]
    assert len(seen) and (seen[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("grey", [[76], [50]]),
        ("rgb", [[*RED], [50] * 3]),
        ("rgba", [[*RED, 255], [50, 50, 50, 255]]),
    ],
)
def test_channels_are_made_alike(tmp_path: Path, channels: str, expected: list[list[int]]) -> None:
    source = write_folder(
        tmp_path / "source",
        {
            "a.png": pillow_bytes(Image.new("RGB", (4, 4), RED), "PNG"),
            "b.jpg": pillow_bytes(Image.new("L", (4, 4), 50), "JPEG"),
        },
    )
    archive = converted(source, tmp_path / "a.zip", "--channels", channels)
    assert [archive.read(index)[2, 2].tolist() for index in (0, 1)] == expected


def test_an_alpha_channel_is_not_dropped_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_folder(tmp_path / "source", {"cat.png": rgba(HALF)})
    args = ("--source", source, "--dest", tmp_path / "a.zip", "--channels", "rgb")
    assert tool(*args) == 2
    assert "cat.png: is RGBA" in (line := error_line(capsys)) and "--alpha white" in line
    assert (
        converted(source, tmp_path / "a.zip", "--channels", "grey", "--alpha", "white").shape[2]
        == 1
    )


@pytest.mark.parametrize("name", ["lanczos", "bicubic", "box"])
def test_filters_are_pillows(tmp_path: Path, name: str) -> None:
    source = write_folder(tmp_path / "source", {"a.png": png(0, 9, 9)})
    archive = converted(source, tmp_path / "a.zip", "--resolution", 4, "--resize", name)
    expected = to_pillow(pixels(0, 9, 9)).resize((4, 4), Image.Resampling[name.upper()])
    assert np.array_equal(archive.read(0), np.asarray(expected))


def test_box_halving_is_the_mean_of_four_pixels(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", {"a.png": png(0, 8, 8, 1)})
    archive = converted(source, tmp_path / "a.zip", "--resolution", 4, "--resize", "box")
    means = pixels(0, 8, 8, 1).reshape(4, 2, 4, 2).mean(axis=(1, 3))
    assert np.abs(archive.read(0)[..., 0] - means).max() <= 1  # rounded by row and by column


def test_jpeg_quality_and_colour_resolution(tmp_path: Path) -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = [255, 0, 0]
    stripes[:, 1::2] = [0, 0, 255]  # would be purple at half the colour resolution
    source = write_folder(tmp_path / "source", {"a.png": pillow_bytes(to_pillow(stripes), "PNG")})
    sizes = []
    for quality in (30, 95, 100):
        path = tmp_path / f"{quality}"
        archive = converted(source, path, "--format", "jpeg", "--quality", quality)
        sizes.append((path / archive.names[0]).stat().st_size)
    assert sizes == sorted(set(sizes))
    assert np.abs(archive.read(0).astype(int) - stripes).max() < 40


def test_keep_takes_the_files_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    to_pillow(pixels(1, 6, 4)).save(photo, "JPEG", exif=exif)
    files = {"a.png": png(0, 4, 6), "b.png": photo.getvalue()}
    source = write_folder(tmp_path / "source", files)
    options = ("--format", "keep", "--resolution", "6x4")
    archive = converted(source, tmp_path / "a", *options)
    assert archive.names == ("00000/img00000000.png", "00000/img00000001.jpg")
    kept = [(tmp_path / "a" / name).read_bytes() for name in archive.names]
    assert kept == list(files.values())
    capsys.readouterr()
    (source / "c.png").write_bytes(png(2, 4, 6)[:50])
    assert tool("--source", source, "--dest", tmp_path / "b", *options) == 2
    assert "c.png: is not a readable image" in error_line(capsys)
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 4, 6), np.uint8))
    assert tool("--source", tmp_path / "x.npz", "--dest", tmp_path / "b", *options) == 2
    assert "held as pixels and not as a file" in error_line(capsys)


def test_suffixes_follow_the_content() -> None:
    image = to_pillow(pixels(0))
    for suffix, name in {".png": "PNG", ".jpg": "JPEG", ".gif": "GIF", ".tif": "TIFF"}.items():
        assert image_suffix(pillow_bytes(image, name), "a") == suffix
    several = io.BytesIO()
    image.save(several, "MPO", save_all=True, append_images=[image])
    assert image_suffix(several.getvalue(), "a") == ".jpg"
    with pytest.raises(UserError, match="none of PNG, JPEG"):
        image_suffix(b"%!PS-Adobe-3.0 EPSF-3.0\n", "a.png")


def test_preview_has_a_row_for_each_class(tmp_path: Path) -> None:
    colours = {"red": RED, "lime": (0, 255, 0), "blue": (0, 0, 255)}
    files = {
        f"{name}/{i}.png": pillow_bytes(Image.new("RGB", (16, 16), colour), "PNG")
        for name, colour in colours.items()
        for i in range(3)
    }
    source = write_folder(tmp_path / "source", files)
    converted(source, tmp_path / "a.zip", "--preview", tmp_path / "sheet.png")
    sheet = decode_image((tmp_path / "sheet.png").read_bytes(), "sheet")
    right = sheet[:, -9 - 48 : -9]  # the last of three columns, each pixel three times
    middles = [right[8 + row * 50 + 24, 24].tolist() for row in range(3)]
    assert middles == [list(colours[name]) for name in sorted(colours)]
    assert len(sheet) == 16 + 3 * 50 - 2
    captions = sheet[:, 8 : -9 - 3 * 50]
    assert all((captions[8 + row * 50 : 56 + row * 50] < 100).any() for row in range(3))


def test_preview_without_classes_fills_rows(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", {f"{i:02}.png": rgba(0) for i in range(13)})
    converted(source, tmp_path / "a.zip", "--preview", tmp_path / "sheet.jpg")
    sheet = decode_image((tmp_path / "sheet.jpg").read_bytes(), "sheet")
    assert sheet.shape == (2 * 32 + 2 + 16, 12 * 48 + 11 * 2 + 16, 3)


def test_preview_of_many_large_pictures_with_long_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = pillow_bytes(Image.new("RGB", (512, 64), RED), "PNG")
    files = {f"{'long' * 20}{number:03}/a.png": wide for number in range(101)}
    path = tmp_path / "sheet.png"
    converted(write_folder(tmp_path / "source", files), tmp_path / "a.zip", "--preview", path)
    assert "the first 100 of 101 classes" in capsys.readouterr().out
    sheet = decode_image(path.read_bytes(), "sheet")
    assert sheet.shape == (16 + 100 * 36 - 2, 8 + 220 + 8 + 128 + 8, 3)
    assert (sheet[8 + 9 : 8 + 25, -136:-8] == RED).all()


def test_leaving_out_most_images_is_questioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"0.png": png(0, 8, 8)} | {f"{i}.png": png(i, 5, 5) for i in range(1, 60)}
    files |= {"g.png": png(60, 8, 8, 1), "z.png": b""}
    source = write_folder(tmp_path / "source", files)
    assert len(converted(source, tmp_path / "a.zip", "--on-error", "skip")) == 1
    sizes, channels, broken, most = capsys.readouterr().err.splitlines()
    places = ", ".join(f"{source}/{name}.png" for name in (1, 10, 11))
    how = "not 8x8 like the first image; make all alike with --resolution"
    assert sizes == f"Warning: skipped: {places} and 56 more: {how}"
    assert f"{source}/g.png: grey, the first image is RGB; make all alike with --ch" in channels
    assert f"skipped: {source}/z.png: is not a readable image" in broken and "most images" in most


def test_only_so_many_reasons_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    log_left_out(
        (f"{index // 2}.png", f"{index // 2}.png: reason {index // 2}") for index in range(120)
    )
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 51 and lines[1] == "Warning: skipped: 1.png, 1.png: reason 1"
    assert lines[50] == "Warning: skipped: 20 more images"


def test_a_size_that_no_network_takes_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_folder(tmp_path / "source", {"a.png": png(0, 32, 32)})
    converted(source, tmp_path / "a.zip", "--resolution", 17)
    (line,) = capsys.readouterr().err.splitlines()
    assert "a.zip: no network takes it: resolution 17x17: each side must be" in line
    converted(source, tmp_path / "b.zip", "--resolution", 16)
    assert capsys.readouterr().err == ""


def test_a_class_that_lost_all_its_images_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"cat/a.png": png(0), "dog/b.png": b"x", "cow/c.png": png(2)}
    source = write_folder(tmp_path / "source", files)
    converted(source, tmp_path / "a.zip", "--on-error", "skip")
    lines = capsys.readouterr().err.splitlines()
    assert (
        "dog/b.png" in lines[0] and "1 of 3 classes have no image, the first is 'dog'" in lines[1]
    )


def triple(number: int) -> int:
    """Three times `number`, slower for the first ones; -1 is refused and -2 is the end."""
    time.sleep(0.002 * (number < 4))
    if number == -1:
        raise ValueError("negative")
    if number == -2:
        os._exit(3)
    return 3 * number


@pytest.mark.parametrize("count", [1, 2, 3])
def test_workers_keep_the_order(count: int) -> None:
    with Workers(triple, count) as workers:
        for items in (range(23), [], [5]):
            batches = list(workers.map(items, 4))
            assert [result for batch in batches for result in batch] == [3 * i for i in items]


@pytest.mark.parametrize("count", [1, 2])
def test_workers_raise_in_order_what_was_raised(count: int) -> None:
    with Workers(triple, count) as workers:
        results = workers.map([0, 1, 2, 3, -1, 5, 6, 7, 8], 2)
        assert [next(results), next(results)] == [[0, 3], [6, 9]]
        with pytest.raises(ValueError, match="negative"):
            next(results)


def test_a_dead_worker_is_told_with_its_items() -> None:
    with Workers(triple, 2) as workers:
        results = workers.map([0, 1, 2, 3, -2, 5, 6, 7, 8], 2)
        assert [next(results), next(results)] == [[0, 3], [6, 9]]
        with pytest.raises(WorkerDiedError) as caught:
            next(results)
    assert caught.value.items == [-2, 5] and isinstance(caught.value, RunError)
