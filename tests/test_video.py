"""Frames into files: what players need, memory, and encoders that fail."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from network_helpers import exit_status
from PIL import Image

import interpolation
from dnnlib import RunError, UserError
from training.data.images import Pixels
from training.generation.video import VideoFormat, check_video, usable_format, write_video

pytest_plugins = ["network_fixtures"]

ENCODED: tuple[VideoFormat, ...] = ("mp4", "gif", "webp")


def moving(count: int, channels: int = 3, size: tuple[int, int] = (64, 64)) -> Iterator[Pixels]:
    """Frames `[H, W, C]`, each of one colour that grows by steps of 5."""
    for number in range(count):
        yield np.full((*size, channels), 5 * number % 256, np.uint8)


def decode(path: Path) -> list[Pixels]:
    """Frames of an mp4, RGB."""
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]


def test_mp4_is_what_browsers_play(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.mp4"
    write_video(moving(12), path, "mp4", 12, comment="made so")
    facts = next(imageio_ffmpeg.read_frames(str(path)))
    assert facts["codec"] == "h264" and facts["pix_fmt"].startswith("yuv420p(tv, bt709")
    assert (facts["size"], facts["fps"], facts["duration"]) == ((64, 64), 12.0, 1.0)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # playback can start before all is there
    assert b"made so" in data
    levels = [int(frame.mean()) for frame in decode(path)]
    assert len(levels) == 12
    assert all(abs(level - 5 * number) <= 2 for number, level in enumerate(levels))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("video_format", ENCODED)
def test_every_frame_and_channel_arrives(
    tmp_path: Path, video_format: VideoFormat, channels: int
) -> None:
    frames = list(moving(9, channels))
    if channels > 1:
        for frame in frames:
            frame[:, :, 1] = 200
    path = tmp_path / f"a.{video_format}"
    write_video(frames, path, video_format, 10)
    if video_format == "mp4":
        found = decode(path)
    else:
        with Image.open(path) as image:
            assert (getattr(image, "n_frames"), image.info["loop"]) == (9, 0)  # noqa: B009
            found = [np.asarray(_frame(image, number)) for number in range(9)]
    assert len(found) == 9
    for frame, expected in zip(found, frames, strict=True):
        colours = np.broadcast_to(expected[:, :, :3], (64, 64, 3)).astype(int)
        if not (channels == 4 and video_format != "mp4"):
            assert np.abs(frame - colours).max() <= 4


def _frame(image: Image.Image, number: int) -> Image.Image:
    image.seek(number)
    return image.convert("RGB")


@pytest.mark.parametrize("video_format", ["gif", "webp"])
def test_nothing_shows_through_transparent_frames(
    tmp_path: Path, video_format: VideoFormat
) -> None:
    frames = [np.zeros((32, 96, 4), np.uint8) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame[:, 32 * number : 32 * (number + 1)] = (200, 40, 40, 255)
    write_video(frames, tmp_path / f"a.{video_format}", video_format, 10)
    with Image.open(tmp_path / f"a.{video_format}") as image:
        for number, frame in enumerate(frames):
            image.seek(number)
            found = np.asarray(image.convert("RGBA"))
            assert np.array_equal(found[:, :, 3], frame[:, :, 3])


def test_odd_sizes_repeat_their_last_pixels(tmp_path: Path) -> None:
    frame = np.zeros((33, 47, 3), np.uint8)
    frame[:, 40:] = 255
    write_video([frame] * 3, tmp_path / "a.mp4", "mp4", 10)
    found = decode(tmp_path / "a.mp4")[1]
    assert found.shape == (34, 48, 3)
    assert found[:, 44:].min() > 240 and found[33, :36].max() < 16


def test_gif_has_the_time_that_was_asked_for(tmp_path: Path) -> None:
    write_video(moving(30), tmp_path / "a.gif", "gif", 30)
    with Image.open(tmp_path / "a.gif") as image:
        total = 0
        for number in range(30):
            image.seek(number)
            total += image.info["duration"]
    assert abs(total - 1000) <= 20  # of hundredths of a second


@pytest.mark.parametrize("video_format", [*ENCODED, "frames"])
def test_memory_does_not_grow_with_length(tmp_path: Path, video_format: VideoFormat) -> None:
    held: list[int] = []

    def watched() -> Iterator[Pixels]:
        for index, frame in enumerate(moving(400, size=(32, 32))):
            if index in (20, 399):
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
            yield frame

    tracemalloc.start()
    write_video(watched(), tmp_path / f"a.{video_format}", video_format, 20)
    tracemalloc.stop()
    early, late = held
    assert late - early < 20 * 32 * 32 * 3  # far fewer than the 379 frames more


@pytest.mark.parametrize("video_format", [*ENCODED, "frames"])
def test_nothing_is_left_of_a_video_that_fails(tmp_path: Path, video_format: VideoFormat) -> None:
    def frames() -> Iterator[Pixels]:
        yield from moving(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(frames(), tmp_path / "video", video_format, 10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reads", ["cat > /dev/null", "head -c 10 > /dev/null"])
def test_an_encoder_that_fails_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: str
) -> None:
    encoder = tmp_path / "ffmpeg"
    encoder.write_text(f"#!/bin/sh\n{reads}\necho 'No space left' >&2\nexit 1\n")
    encoder.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(encoder))
    with pytest.raises(RunError, match=r"a.mp4: ffmpeg failed \(No space left\)"):
        write_video(moving(50, size=(256, 256)), tmp_path / "a.mp4", "mp4", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["ffmpeg"]


def test_without_ffmpeg_there_are_frames_and_a_word(
    tmp_path: Path,
    network: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "no-ffmpeg"))
    short = ("--classes", "cat,dog", "--seconds", 0.5, "--fps", 10)
    outdir = tmp_path / "out"
    for video_format in ENCODED:
        assert usable_format(video_format) == "frames"
    capsys.readouterr()
    assert exit_status(interpolation.main, "--network", network, "--outdir", outdir, *short) == 0
    said = capsys.readouterr().err
    assert "needs ffmpeg" in said and "writing frames instead" in said
    (folder,) = outdir.iterdir()
    names = [path.name for path in sorted(folder.iterdir())]
    assert names == [f"frame{number:06d}.png" for number in range(5)]
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
    assert [usable_format(name) for name in ENCODED] == list(ENCODED)


def test_frames_are_kept_as_they_are(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = [random.integers(256, size=(5, 7, 4), dtype=np.uint8) for _ in range(3)]
    write_video(frames, tmp_path / "new" / "frames", "frames", 10)
    paths = sorted((tmp_path / "new" / "frames").iterdir())
    found = [np.asarray(Image.open(path)) for path in paths]
    assert all(np.array_equal(a, b) for a, b in zip(found, frames, strict=True))
    assert all(a.name < b.name for a, b in pairwise(paths))


def test_what_a_format_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gif has at most 50 frames a second, found 60"):
        check_video(tmp_path / "a.gif", "gif", 60)
    with pytest.raises(UserError, match="is there already"):
        check_video(tmp_path, "frames", 10)
