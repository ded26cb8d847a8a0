"""Frames to a file that plays: H.264 in mp4, animated gif or webp, or a folder of pictures."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Literal

import imageio_ffmpeg
import numpy as np

from dnnlib import RunError, UserError
from dnnlib.files import atomic_path
from dnnlib.logs import logger
from training.data.images import Pixels
from training.pictures import save_image

VideoFormat = Literal["mp4", "gif", "webp", "frames"]

MAX_GIF_FPS = 50  # players slow down anything quicker
_PIXEL_FORMATS = {1: "gray", 3: "rgb24", 4: "rgba"}
_OUTPUT: dict[str, tuple[str, ...]] = {
    # Tagged as BT.709, so that players show the colours that the pixels have.
    "mp4": (
        *(
            "-vf",
            "scale=out_color_matrix=bt709:out_range=tv,setparams=range=tv:"
            "colorspace=bt709:color_primaries=bt709:color_trc=bt709",
        ),
        *("-c:v", "libx264", "-crf", "16", "-pix_fmt", "yuv420p"),
        *("-movflags", "+faststart", "-f", "mp4"),
    ),
    # A palette for each frame, which needs no look at the others.
    "gif": (
        *("-vf", "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"),
        *("-loop", "0", "-f", "gif"),
    ),
    # Frames by themselves: libwebp_anim would hold all of them until the end.
    "webp": ("-c:v", "libwebp", "-quality", "90", "-pix_fmt", "bgra", "-loop", "0", "-f", "webp"),
}


def usable_format(wanted: VideoFormat) -> VideoFormat:
    """`wanted`, or 'frames' with a warning where ffmpeg, which makes all others, is not there."""
    if wanted == "frames":
        return wanted
    try:
        imageio_ffmpeg.get_ffmpeg_version()
    except (RuntimeError, OSError, subprocess.CalledProcessError):
        logger.warning(
            f"--format {wanted} needs ffmpeg, which is not there or does not start: writing frames "
            "instead (pip install imageio-ffmpeg brings it)"
        )
        return "frames"
    return wanted


def check_video(path: Path, video_format: VideoFormat, fps: int) -> None:
    """Raise `UserError` where `write_video` could not write such a video."""
    if video_format == "gif" and fps > MAX_GIF_FPS:
        raise UserError(f"--fps: gif has at most {MAX_GIF_FPS} frames a second, found {fps}")
    if video_format == "frames" and path.exists():
        raise UserError(f"{path}: is there already; remove it or choose another --outdir")


def write_video(
    frames: Iterable[Pixels], path: Path, video_format: VideoFormat, fps: int, comment: str = ""
) -> None:
    """Write `frames`, uint8 `[H, W, C]` of one size, to the file or folder `path`.

    It appears when it is whole. Frames are handed on one by one, so memory does not grow with
    their number. mp4 has no transparency, and where a side is odd its last pixels are repeated;
    `comment` is kept in it. Raises `UserError` where `path` cannot be written and `RunError` where
    ffmpeg fails.
    """
    if video_format == "frames":
        _write_folder(frames, path)
        return
    output = _OUTPUT[video_format]
    if video_format == "mp4":
        frames = map(_for_h264, frames)
        output = ("-metadata", f"comment={comment}", *output) if comment else output
    with atomic_path(path) as temporary:
        if (complaint := _encode(frames, temporary, fps, output)) is not None:
            raise RunError(f"{path}: ffmpeg failed ({complaint}); is the disk full?")
        if video_format == "webp":
            _replace_frames(temporary)


def _for_h264(frame: Pixels) -> Pixels:
    """Without transparency, and of even size, as its colours at half the resolution demand."""
    height, width, _ = frame.shape
    return np.pad(frame[:, :, :3], ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _encode(frames: Iterable[Pixels], path: Path, fps: int, output: Sequence[str]) -> str | None:
    """Write `frames` to `path`; what ffmpeg complains of where it fails."""
    remaining = iter(frames)
    first = next(remaining)
    height, width, channels = first.shape
    with ExitStack() as stack:
        complaints = stack.enter_context(TemporaryFile())
        command = [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"),
            *("-f", "rawvideo", "-pix_fmt", _PIXEL_FORMATS[channels]),
            *("-s", f"{width}x{height}", "-r", str(fps), "-i", "pipe:0"),
            *(*output, str(path)),
        ]
        # In a session of its own, so that Ctrl-C reaches us alone.
        encoder = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=complaints, start_new_session=True
        )
        stack.callback(_end, encoder)
        assert encoder.stdin is not None
        with suppress(BrokenPipeError):  # the exit status tells why
            for frame in chain([first], remaining):
                encoder.stdin.write(np.ascontiguousarray(frame).data)
            encoder.stdin.close()
        return None if encoder.wait() == 0 else _last_line(complaints)


def _end(encoder: subprocess.Popen[bytes]) -> None:
    """Leave no process behind, whatever happened."""
    encoder.kill()
    with suppress(BrokenPipeError):
        encoder.communicate()


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a word"


def _replace_frames(path: Path) -> None:
    """Let each frame of a WebP replace the one before; ffmpeg lays it on top, which shows through.

    Sets the blending bit of each ANMF chunk (WebP container specification, "Animation").
    """
    with path.open("r+b") as file:
        file.seek(12)  # behind "RIFF", size, "WEBP"
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            begin = file.tell()
            if name == b"ANMF":
                file.seek(begin + 15)
                flags = file.read(1)[0]
                file.seek(begin + 15)
                file.write(bytes([flags | 0b10]))
            file.seek(begin + size + size % 2)


def _write_folder(frames: Iterable[Pixels], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
            folder = Path(temporary) / path.name
            for number, frame in enumerate(frames):
                save_image(folder / f"frame{number:06d}.png", frame)
            folder.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
