"""Frames to a file that plays: H.264 in mp4, animated gif or webp, or a folder of pictures."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import imageio_ffmpeg
import numpy as np

from dnnlib import RunError, UserError
from dnnlib.files import atomic_path
from training.data.images import Pixels, to_pillow
from training.pictures import save_image

VideoFormat = Literal["mp4", "gif", "webp", "frames"]

MAX_GIF_FPS = 50  # players slow down anything quicker
# Tagged as BT.709, so that players show the colours that the pixels have.
# fmt: off
_MP4_PARAMETERS = (
    "-crf", "16",
    "-vf",
    "scale=out_color_matrix=bt709:out_range=tv,"
    "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709",
    "-movflags", "+faststart",
    "-f", "mp4",
)
# fmt: on


def check_video(path: Path, video_format: VideoFormat, fps: int) -> None:
    """Raise `UserError` where `write_video` could not write such a video."""
    if video_format == "mp4":
        try:
            imageio_ffmpeg.get_ffmpeg_version()
        except (RuntimeError, OSError, subprocess.CalledProcessError):
            raise UserError(
                "--format mp4 needs ffmpeg, which is not there or does not start; install it "
                "(pip install imageio-ffmpeg), or use --format frames"
            ) from None
    if video_format == "gif" and fps > MAX_GIF_FPS:
        raise UserError(f"--fps: gif has at most {MAX_GIF_FPS} frames a second, found {fps}")
    if video_format == "frames" and path.exists():
        raise UserError(f"{path}: is there already; remove it or choose another --outdir")


def write_video(frames: Iterable[Pixels], path: Path, video_format: VideoFormat, fps: int) -> None:
    """Write `frames`, uint8 `[H, W, C]` of one even size, to the file or folder `path`.

    It appears when it is whole. mp4 (without transparency) and frames stream, gif and webp keep
    all frames in memory until the end. Raises `UserError` where `path` cannot be written.
    """
    _WRITERS[video_format](frames, path, fps)


def _write_mp4(frames: Iterable[Pixels], path: Path, fps: int) -> None:
    remaining = iter(frames)
    first = next(remaining)
    height, width, channels = first.shape
    assert height % 2 == 0 and width % 2 == 0
    count = 0
    with atomic_path(path) as temporary:
        encoder = imageio_ffmpeg.write_frames(
            str(temporary),
            (width, height),
            pix_fmt_in="gray" if channels == 1 else "rgb24",
            fps=fps,
            codec="libx264",
            quality=None,
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=list(_MP4_PARAMETERS),
        )
        encoder.send(None)
        try:
            for frame in chain([first], remaining):
                encoder.send(np.ascontiguousarray(frame[:, :, :3]))
                count += 1
        finally:
            encoder.close()
        _check_mp4(temporary, path, count)


def _check_mp4(temporary: Path, path: Path, count: int) -> None:
    """The encoder's exit status stays hidden; a full disk shows in what can be read back."""
    try:
        found, _ = imageio_ffmpeg.count_frames_and_secs(str(temporary))
    except (RuntimeError, OSError):
        found = 0
    if found != count:
        raise RunError(f"{path}: ffmpeg wrote {found} of {count} frames; is the disk full?")


def _write_gif(frames: Iterable[Pixels], path: Path, fps: int) -> None:
    images = (to_pillow(frame) for frame in frames)
    first = next(images)
    with atomic_path(path) as temporary:
        first.save(
            temporary, "GIF", save_all=True, append_images=images, duration=1000 / fps, loop=0
        )


def _write_webp(frames: Iterable[Pixels], path: Path, fps: int) -> None:
    images = (to_pillow(frame) for frame in frames)
    first = next(images)
    with atomic_path(path) as temporary:
        first.save(
            temporary,
            "WEBP",
            save_all=True,
            append_images=images,
            duration=round(1000 / fps),
            loop=0,
            quality=90,
        )


def _write_folder(frames: Iterable[Pixels], path: Path, fps: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
            folder = Path(temporary) / path.name
            for number, frame in enumerate(frames):
                save_image(folder / f"frame{number:06d}.png", frame)
            folder.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


_WRITERS: dict[VideoFormat, Callable[[Iterable[Pixels], Path, int], None]] = {
    "mp4": _write_mp4,
    "gif": _write_gif,
    "webp": _write_webp,
    "frames": _write_folder,
}
