"""Read a data set: a folder or zip of images, with labels where it has them."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path, PurePosixPath

from dnnlib import UserError
from dnnlib.logs import logger, track
from training.data.files import Files, open_files
from training.data.images import IMAGE_SUFFIXES, Pixels, decode_image
from training.data.labels import check_class_names
from training.data.layouts import FindLabels, find_labels
from training.data.unread import ADVICE, count_suffixes, describe_unread, unread_files


class ImageArchive:
    """Images of a folder or zip, sorted by name, read one at a time from any process or thread.

    `names`: file names, parts joined by '/'. `labels`: class indices, int64 `[N]`, or vectors,
    float64 `[N, D]`, or None. `class_names`: one for each class index ('0', '1', ... where the
    archive has no names), empty without class indices. `files` are those at `path` if left out,
    and `find` finds the labels in them. Raises `UserError` for an archive that is missing, broken,
    without an image, or whose labels do not fit its images or have names that are not UTF-8.
    """

    def __init__(
        self, path: str | Path, files: Files | None = None, find: FindLabels = find_labels
    ) -> None:
        self.path = Path(path)
        self._files = files or open_files(self.path)
        self.names = tuple(
            name
            for name in self._files.names
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
        )
        self._unread = unread_files(self._files.names, self.names)
        if not self.names:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            but = f", but {count_suffixes(self._unread)}; {ADVICE}" if self._unread else ""
            raise UserError(f"{path}: holds no image ({kinds}){but or '; check the path'}")
        found = find(self._files, self.names, self.path)
        self.labels = None if found is None else found.values
        self.class_names = () if found is None else found.class_names
        check_class_names(path, self.class_names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def has_labels(self) -> bool:
        """Whether every image has a label (otherwise none has)."""
        return self.labels is not None

    def warn_of_unread(self) -> None:
        """Tell the user of files that may be images, but are of a kind that is not read."""
        if self._unread:
            logger.warning(f"{self.path}: {describe_unread(self._unread, self.names)}")

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the first image, which all others must share (see `read`)."""
        height, width, channels = self.decode(0).shape
        return height, width, channels

    def decode(self, index: int) -> Pixels:
        """Image `index` as it is, uint8 `[H, W, C]`. Raises `UserError` where it is unreadable."""
        return decode_image(self.fetch(index), self.where(index))

    def where(self, index: int) -> str:
        """Image `index` in errors."""
        return f"{self.path}/{self.names[index]}"

    def fetch(self, index: int) -> bytes:
        """The file of image `index`, as it is. Raises `UserError` where it cannot be read."""
        return self._files.read(self.names[index])

    def read(self, index: int) -> Pixels:
        """Image `index`, uint8 `[H, W, C]`, equal in shape to the first.

        Raises `UserError` naming the file where it is unreadable or of another shape.
        """
        pixels = self.decode(index)
        if pixels.shape != self.shape:
            raise UserError(
                f"{self.path}: {self.names[index]} is {describe_shape(pixels.shape)}, but "
                f"{self.names[0]} is {describe_shape(self.shape)}; all images must be alike: "
                "convert them with dataset_tool.py --resolution"
            )
        return pixels

    def digest(self) -> str:
        """Hexadecimal SHA-256 of names, image bytes (by CRC-32) and labels.

        The same for a folder and its zip. Quick for a zip; a folder is read once.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        labels = None if self.labels is None else self.labels.tolist()
        sha = hashlib.sha256(json.dumps([labels, self.class_names]).encode())
        for name in track(self.names, "Checksums", len(self.names), "images"):
            sha.update(json.dumps([name, self._files.crc(name)]).encode())
        return sha.hexdigest()


def describe_shape(shape: tuple[int, ...]) -> str:
    """'320x256 RGB' (width x height) for (H, W, C)."""
    height, width, channels = shape
    return f"{width}x{height} { {1: 'grey', 3: 'RGB', 4: 'RGBA'}[channels] }"
