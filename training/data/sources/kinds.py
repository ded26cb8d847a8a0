"""The kinds of sources: how each is described to users, recognised and opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dnnlib import UserError
from training.data.archive import ImageArchive
from training.data.files import Files, files_below, open_files
from training.data.images import IMAGE_SUFFIXES
from training.data.layouts import FindLabels, find_labels, level_labels, table_labels
from training.data.sources.base import Source
from training.data.sources.cifar import FOLDERS as CIFAR_FOLDERS
from training.data.sources.cifar import is_cifar_folder, open_cifar
from training.data.sources.idx import MAGIC as IDX_MAGIC
from training.data.sources.idx import open_idx
from training.data.sources.lsun import DATA_FILE, LsunSource
from training.data.sources.npz import open_npz
from training.data.sources.options import SourceOptions
from training.data.sources.parquet import ParquetSource
from training.data.sources.place import BUILTIN, Place
from training.data.sources.splits import ALL, choose_split
from training.data.sources.stl10 import open_stl10
from training.data.sources.tar import TarFiles
from training.data.sources.webdataset import sample_labels, samples

_FILE_OPTIONS = frozenset({"labels", "class_depth", "split", "label_column"})


@dataclass(frozen=True)
class SourceKind:
    """`options` are the fields of `SourceOptions` that it has a use for."""

    description: str
    matches: Callable[[Place], bool]
    open: Callable[[Place, SourceOptions], Source]
    options: frozenset[str] = frozenset()


def open_source(name: str, options: SourceOptions | None = None) -> Source:
    """The source that `name` (a path, a pattern of several, or 'builtin:...') stands for.

    Raises `UserError` where it does not exist, is of no kind that is understood, is not whole, or
    has no use for an option.
    """
    options = options or SourceOptions()
    place = Place(name)
    for kind in SOURCE_KINDS:
        if kind.matches(place):
            _check_options(name, options, kind.options)
            return kind.open(place, options)
    if place.named(*IMAGE_SUFFIXES):
        raise UserError(f"--source {name}: is a picture; name the folder of the pictures")
    known = "; ".join(kind.description for kind in SOURCE_KINDS)
    raise UserError(f"--source {name}: could not tell what it is; known are {known}")


def _from_path(open: Callable[[Path], Source]) -> Callable[[Place, SourceOptions], Source]:
    """An opener for sources that have no options."""
    return lambda place, options: open(place.path)


def _open_archive(place: Place, options: SourceOptions) -> Source:
    if options.label_column and not options.labels:
        raise UserError("--label-column: is one of the file --labels; add that, or drop the option")
    files = place.files if place.is_folder else open_files(place.path)
    return _archive(place, files, find_labels, options)


def _open_tars(place: Place, options: SourceOptions) -> Source:
    files = samples(TarFiles(place.inside(".tar") or place.paths), place.name)
    column = "" if options.labels else options.label_column
    return _archive(place, files, partial(sample_labels, column), options)


def _archive(place: Place, files: Files, find: FindLabels, options: SourceOptions) -> Source:
    """The images among `files`, with labels from where the options say, or else as `find` does."""
    path = place.path if len(place.paths) == 1 else Path(place.name)
    if options.class_depth and (options.labels or options.label_column):
        raise UserError("--class-depth: the classes are told in two ways; drop it or the other")
    if options.labels:
        find = partial(table_labels, Path(options.labels), options.label_column)
    if options.class_depth:
        first, _, last = options.class_depth.partition("-")
        find = partial(level_labels, (int(first), int(last or first)))
    if options.split and options.split != ALL:
        below = files_below(files, options.split)
        if not below.names:
            raise UserError(f"--split {options.split}: {path} has no such folder; drop the option")
        path, files = path / options.split, below
    archive = ImageArchive(path, files, find)
    archive.warn_of_unread()
    return archive


def _open_parquet(place: Place, options: SourceOptions) -> Source:
    files = place.inside(".parquet") or list(place.paths)
    return ParquetSource(place.name, choose_split(files, options.split, place.name), options)


def _holds_parquet(place: Place) -> bool:
    """Whether a folder holds parquet files. Raises `UserError` where it holds images as well."""
    found = place.inside(".parquet")
    if found and _holds_images(place):
        raise UserError(
            f"--source {place.name}: holds images and .parquet files as well; say which by a "
            f"pattern like {place.name}/**/*.parquet, or move the others away"
        )
    return bool(found)


def _holds_images(place: Place) -> bool:
    return any(place.inside(suffix) for suffix in IMAGE_SUFFIXES)


def _check_options(name: str, options: SourceOptions, known: frozenset[str]) -> None:
    for field in sorted(options.model_fields_set - known):
        if getattr(options, field):
            flag = field.replace("_", "-")
            raise UserError(f"--{flag}: {name} has no use for it; drop the option")


SOURCE_KINDS = (
    SourceKind(
        " or ".join(BUILTIN),
        lambda place: place.name in BUILTIN,
        _from_path(ImageArchive),
    ),
    SourceKind(
        "cifar-10-python.tar.gz or cifar-100-python.tar.gz",
        lambda place: (
            is_cifar_folder(place.files.names)
            if place.is_folder
            else place.first_entry.startswith(CIFAR_FOLDERS)
        ),
        lambda place, options: open_cifar(place.path, options),
        frozenset({"split", "cifar100_labels"}),
    ),
    SourceKind(
        "MNIST's train-images-idx3-ubyte.gz",
        lambda place: place.head.startswith(IDX_MAGIC),
        _from_path(open_idx),
    ),
    SourceKind(
        "STL-10's train_X.bin",
        lambda place: place.named("_x.bin"),
        _from_path(open_stl10),
    ),
    SourceKind(
        "an LSUN lmdb folder",
        lambda place: place.is_folder and (place.path / DATA_FILE).is_file(),
        _from_path(LsunSource),
    ),
    SourceKind(
        "an .npz file with arrays x and y",
        lambda place: place.named(".npz"),
        _from_path(open_npz),
    ),
    SourceKind(
        "HuggingFace .parquet files (one, a folder, or a pattern)",
        lambda place: (
            place.head.startswith(b"PAR1") or place.named(".parquet") or _holds_parquet(place)
        ),
        _open_parquet,
        frozenset({"image_column", "label_column", "split"}),
    ),
    SourceKind(
        "webdataset .tar files (one, a folder, or a pattern)",
        lambda place: place.is_tar or (bool(place.inside(".tar")) and not _holds_images(place)),
        _open_tars,
        _FILE_OPTIONS,
    ),
    SourceKind(
        "a folder or zip of images (with a dataset.json, in class folders, or with a JSON list of "
        "[path, label])",
        lambda place: place.is_folder or place.head.startswith(b"PK"),
        _open_archive,
        _FILE_OPTIONS,
    ),
)
