"""Foreign data that can be converted: each kind is one small class with random access."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dnnlib import UserError
from training.data.archive import ImageArchive
from training.data.images import Pixels
from training.data.labels import MAX_CLASSES, numbered_names

BUILTIN = {"builtin:mnist5k": Path(__file__).resolve().parents[2] / "assets" / "mnist5k.zip"}


class Source(Protocol):
    """Images with names and labels.

    `labels`: class indices int64 `[N]`, vectors float64 `[N, D]`, or None; `class_names`: one for
    each class index, empty without class indices.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def labels(self) -> NDArray[np.int64] | NDArray[np.float64] | None: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def decode(self, index: int) -> Pixels:
        """Image `index`, uint8 `[H, W, C]`, of any size; safe from several threads at once.

        Raises `UserError` where it is unreadable.
        """


class NpzSource:
    """A NumPy file: `x` uint8 `[N, H, W]` or `[N, H, W, C]`, and class indices `y` `[N]` if any."""

    def __init__(self, path: Path) -> None:
        arrays = _load_arrays(path)
        if "x" not in arrays:
            raise UserError(
                f"{path}: must hold the images as array 'x', found {', '.join(arrays) or 'nothing'}"
            )
        self._images = _checked_images(arrays["x"], path)
        self.labels = (
            _checked_classes(arrays["y"], len(self._images), path) if "y" in arrays else None
        )
        self.class_names = () if self.labels is None else numbered_names(self.labels)
        self.names = [f"{path}[{index}]" for index in range(len(self._images))]

    def decode(self, index: int) -> Pixels:
        """Image `index`, uint8 `[H, W, C]`."""
        pixels: Pixels = self._images[index]
        return pixels


@dataclass(frozen=True)
class SourceKind:
    """How a kind of source is described to users, recognised, and opened."""

    description: str
    matches: Callable[[str], bool]
    open: Callable[[str], Source]


SOURCE_KINDS = (
    SourceKind(
        " or ".join(BUILTIN), lambda name: name in BUILTIN, lambda name: ImageArchive(BUILTIN[name])
    ),
    SourceKind(
        "an .npz file with arrays x and y",
        lambda name: name.lower().endswith(".npz"),
        lambda name: NpzSource(Path(name)),
    ),
    SourceKind(
        "a folder or zip of images (with a dataset.json, in class folders, or with a JSON list of "
        "[path, label])",
        lambda name: Path(name).is_dir() or zipfile.is_zipfile(name),
        ImageArchive,
    ),
)


def open_source(name: str) -> Source:
    """The source that `name` (a path or 'builtin:...') stands for.

    Raises `UserError` where it does not exist or is of no kind that is understood.
    """
    if not name.startswith("builtin:") and not Path(name).exists():
        raise UserError(f"--source {name}: there is no such file or folder; check the path")
    for kind in SOURCE_KINDS:
        if kind.matches(name):
            return kind.open(name)
    understood = "; ".join(kind.description for kind in SOURCE_KINDS)
    raise UserError(f"--source {name}: is of no kind that is understood; give {understood}")


def _load_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if name in {"x", "y"}}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UserError(f"{path}: is not a whole .npz file ({error}); check it") from error


def _checked_images(x: NDArray[np.generic], path: Path) -> Pixels:
    """`x` as uint8 `[N, H, W, C]`."""
    images = x[..., np.newaxis] if x.ndim == 3 else x
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        raise UserError(
            f"{path}: x must be uint8 [N, H, W] or [N, H, W, C], found {x.dtype} {list(x.shape)}"
        )
    if images.shape[3] not in {1, 3, 4}:
        raise UserError(f"{path}: x must have 1, 3 or 4 channels, found {images.shape[3]}")
    pixels: Pixels = images.astype(np.uint8, copy=False)
    return pixels


def _checked_classes(y: NDArray[np.generic], count: int, path: Path) -> NDArray[np.int64]:
    if y.shape != (count,) or not np.issubdtype(y.dtype, np.integer):
        raise UserError(
            f"{path}: y must hold one class index for each of the {count} images, found "
            f"{y.dtype} {list(y.shape)}"
        )
    classes = y.astype(np.int64)
    if classes.min() < 0 or classes.max() >= MAX_CLASSES:
        raise UserError(
            f"{path}: y must hold class indices from 0, found {classes.min()} to {classes.max()}"
        )
    return classes
