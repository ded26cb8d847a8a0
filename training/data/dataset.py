"""The data set that training and metrics see: uint8 images and class indices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from dnnlib import Config, UserError
from dnnlib.logs import Progress
from training.data.archive import ImageArchive
from training.data.labels import check_every_class
from training.data.parallel import ordered_map

PositiveInt = Annotated[int, Field(ge=1)]

_CHUNK = 64  # images that a thread reads at once
_CPU = torch.device("cpu")


class DataConfig(Config):
    """Which images are trained on.

    `resolution` is (width, height) that the data must have, None takes the data's own. `subset` is
    the most images to use, drawn by `seed`. `use_labels` None follows the data.
    """

    path: str
    resolution: tuple[PositiveInt, PositiveInt] | None = None
    mirror: bool = False
    subset: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    use_labels: bool | None = None


class ImageDataset(Dataset[tuple[Tensor, Tensor]]):
    """Images of `archive` as `config` selects them; with `mirror` the second half is x-flipped.

    `labels`: int64 `[N]`, zeros where unconditional. `num_classes`: 0 where unconditional.
    `class_names`: one for each class. Raises `UserError` where the data is not what `config` asks.
    """

    def __init__(self, archive: ImageArchive, config: DataConfig) -> None:
        self.archive = archive
        self.config = config
        self.height, self.width, self.num_channels = archive.shape
        if config.resolution not in {None, (self.width, self.height)}:
            wanted = "{}x{}".format(*config.resolution)
            raise UserError(
                f"{config.path}: --resolution asks for {wanted}, the images are "
                f"{self.width}x{self.height}; make a copy of that size with dataset_tool.py "
                f"--resolution {wanted}"
            )
        self._indices = _choose(len(archive), config.subset, config.seed)
        labels = _class_labels(archive, config.use_labels)
        self.class_names = () if labels is None else archive.class_names
        self.num_classes = len(self.class_names)
        chosen = np.zeros(len(self._indices)) if labels is None else labels[self._indices]
        self.labels = torch.from_numpy(chosen.astype(np.int64)).repeat(2 if config.mirror else 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image `index`, uint8 `[C, H, W]` in 0..255, and its label, int64 scalar.

        Raises `UserError` where the file is unreadable or unlike the first image.
        """
        return self.read_batch([range(len(self))[index]])[0], self.labels[index]

    def read_batch(self, indices: Sequence[int]) -> Tensor:
        """Images at `indices` (0 to `len(self) - 1`), uint8 `[N, C, H, W]` in 0..255.

        Raises `UserError` where a file is unreadable or unlike the first image.
        """
        batch = np.empty((len(indices), self.num_channels, self.height, self.width), dtype=np.uint8)
        for image, index in zip(batch, indices, strict=True):
            flipped, position = divmod(index, len(self._indices))
            pixels = self.archive.read(int(self._indices[position])).transpose(2, 0, 1)
            image[...] = pixels[:, :, ::-1] if flipped else pixels
        return torch.from_numpy(batch)

    @property
    def class_counts(self) -> Tensor:
        """Images of each class, int64 `[num_classes]`."""
        if self.num_classes == 0:
            return torch.zeros(0, dtype=torch.int64)
        return torch.bincount(self.labels, minlength=self.num_classes)

    @property
    def digest(self) -> str:
        """SHA-256 of what the data set yields; the archive's own where it yields all of that."""
        mirror, classes = self.config.mirror, self.num_classes
        whole = len(self._indices) == len(self.archive)
        if whole and not mirror and classes == len(self.archive.class_names):
            return self.archive.digest()
        selection = [self.archive.digest(), self._indices.tolist(), mirror, classes]
        return hashlib.sha256(json.dumps(selection).encode()).hexdigest()

    def check_classes(self) -> None:
        """Raise `UserError` where a class has no image."""
        check_every_class(self.config.path, self.class_names, self.class_counts.tolist())

    def load_images(self, threads: int, device: torch.device = _CPU) -> Tensor:
        """All images, uint8 `[N, C, H, W]` on `device`, read by `threads` threads.

        They go there a few at a time: the host never holds them all for a device of its own memory.
        """
        count = len(self._indices)
        shape = len(self), self.num_channels, self.height, self.width
        images = torch.empty(shape, dtype=torch.uint8, device=device)
        chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
        with Progress("Reading images", count, "images") as bar:
            batches = ordered_map(self.read_batch, chunks, threads)
            for chunk, batch in zip(chunks, batches, strict=True):
                place = slice(chunk.start, chunk.stop)
                images[place] = batch
                if self.config.mirror:
                    images[count:][place] = images[place].flip(3)
                bar.update(len(chunk))
        return images


def open_dataset(config: DataConfig) -> ImageDataset:
    """The data set `config` describes. Raises `UserError` where it cannot be had."""
    return ImageDataset(ImageArchive(config.path), config)


def _choose(count: int, subset: int | None, seed: int) -> NDArray[np.int64]:
    """Indices of the images to use, ascending: all, or `subset` drawn without replacement."""
    if subset is None or subset >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, subset, replace=False))


def _class_labels(archive: ImageArchive, use_labels: bool | None) -> NDArray[np.int64] | None:
    """Class indices int64 `[N]`, None for an unconditional view."""
    if use_labels is False:
        return None
    if archive.labels is None:
        if use_labels:
            raise UserError(
                f"{archive.path}: --cond asks for classes, but the data has no labels; put the "
                "images in class folders or add a dataset.json, or train with --cond=false"
            )
        return None
    if archive.labels.ndim == 2:
        raise UserError(
            f"{archive.path}: its labels are vectors of {archive.labels.shape[1]} numbers, "
            "training takes class indices; relabel the data or train with --cond=false"
        )
    return archive.labels.astype(np.int64)
