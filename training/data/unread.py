"""Files among the images of a data set that may be images too, but of a kind that is not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

# What lies beside images without being one. Anything else that is not read is worth a word.
_BESIDE = frozenset(
    {"", ".cls", ".csv", ".db", ".gz", ".htm", ".html", ".ini", ".json", ".jsonl", ".license"}
    | {".log", ".mat", ".md", ".ndjson", ".npy", ".npz", ".parquet", ".pdf", ".pkl", ".py"}
    | {".rst", ".sh", ".tar", ".tsv", ".txt", ".url", ".xml", ".xmp", ".yaml", ".yml", ".zip"}
)
_SHOWN = 4  # suffixes, folders

ADVICE = "export pictures as PNG or JPEG"


def unread_files(names: Iterable[str], images: Sequence[str]) -> list[str]:
    """Those of the files `names` that may be images, but are not among the `images` read.

    Not what belongs to one of them, as a camera's `1.CR2` and a mask `1.seg.bin` do to `1.jpg`.
    """
    read = set(images)
    others = [
        name
        for name in names
        if name not in read and PurePosixPath(name).suffix.lower() not in _BESIDE
    ]
    if not others:
        return []
    read |= {image.rpartition(".")[0] for image in images}
    return [name for name in others if read.isdisjoint(_beginnings(name))]


def count_suffixes(names: Iterable[str]) -> str:
    """'3 .heic, 1 .cr2': how many there are of each kind, the most frequent first."""
    counts = Counter(PurePosixPath(name).suffix.lower() for name in names)
    return _first_ones([f"{number} {suffix}" for suffix, number in counts.most_common()], "kinds")


def describe_unread(unread: Sequence[str], images: Sequence[str]) -> str:
    """What is not read, the folders that have no image for it, and what to do about it."""
    files = "1 file is" if len(unread) == 1 else f"{len(unread)} files are"
    with_images = {folder for image in images for folder in PurePosixPath(image).parents}
    without = sorted({PurePosixPath(name).parent for name in unread} - with_images)
    folders = _first_ones([str(folder) for folder in without], "folders")
    nothing = f", which leaves no image in {folders}" if without else ""
    return f"{files} not read: {count_suffixes(unread)}{nothing}; {ADVICE}"


def _beginnings(name: str) -> Iterator[str]:
    """'a/1.seg' and 'a/1' for 'a/1.seg.bin'."""
    folder, slash, file = name.rpartition("/")
    while "." in file:
        file = file.rpartition(".")[0]
        yield f"{folder}{slash}{file}"


def _first_ones(items: Sequence[str], noun: str) -> str:
    more = [f"{len(items) - _SHOWN} more {noun}"] if len(items) > _SHOWN else []
    return ", ".join([*items[:_SHOWN], *more])
