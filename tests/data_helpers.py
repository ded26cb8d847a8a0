"""Tiny data sets and a short way to run dataset_tool.py, for the tests of training/data."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

import dataset_tool
from dnnlib.cli import run
from training.data.archive import ImageArchive
from training.data.images import Pixels, encode_image

# A busy machine is no failure.
UNHURRIED = settings(deadline=None)


def pixels(seed: int, height: int = 4, width: int = 6, channels: int = 3) -> Pixels:
    """A random image, another one for every seed."""
    shape = height, width, channels
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(seed: int, height: int = 4, width: int = 6, channels: int = 3) -> bytes:
    """`pixels` as a PNG file."""
    return encode_image(pixels(seed, height, width, channels), "png")


def pillow_bytes(image: Image.Image, image_format: str) -> bytes:
    """A file of any format that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """A zip of the given files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """A folder of the given files."""
    for name, data in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def labelled(
    labels: Sequence[object], class_names: Sequence[str] | None = None
) -> dict[str, bytes]:
    """Files of an archive with one image and label each, in a dataset.json."""
    names = [f"00000/img{index:08d}.png" for index in range(len(labels))]
    content = {"labels": list(zip(names, labels, strict=True)), "class_names": class_names}
    files = {name: png(index) for index, name in enumerate(names)}
    return files | {"dataset.json": json.dumps(content).encode()}


def write_two_classes(folder: Path) -> Path:
    """A zip of twelve grey 8x8 images of two classes."""
    files = labelled([index % 2 for index in range(12)])
    for index, name in enumerate(sorted(files.keys() - {"dataset.json"})):
        files[name] = png(index, 8, 8, 1)
    return write_zip(folder / "data.zip", files)


def tool(*args: object) -> int:
    """Exit status of dataset_tool.py with these arguments."""
    with pytest.raises(SystemExit) as ended:
        run(dataset_tool.main, [str(argument) for argument in args])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def converted(source: Path, dest: Path, *options: object) -> ImageArchive:
    """The archive that dataset_tool.py makes of `source`."""
    assert tool("--source", source, "--dest", dest, *options) == 0
    return ImageArchive(dest)


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr that a failed run must end with."""
    # click begins a new line below the ^C of the terminal.
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: ")
    return lines[0]
