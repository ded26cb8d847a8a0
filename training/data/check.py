"""Look at every image of a data set and say what is wrong, and what to do about it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from dnnlib import Config, UserError
from dnnlib.logs import Progress, logger
from training.data.archive import ImageArchive, describe_shape
from training.data.images import decode_image
from training.data.labels import check_every_class
from training.data.parallel import Workers, cpu_count
from training.data.preview import check_preview, draw_preview
from training.data.report import log_classes
from training.networks.grid import resolution_grid

_BATCH = 16
_LISTED, _TOLD = 20, 4
_ODD_BYTES, _ODD_PIXELS = 8, 4  # how many times less or more than the median is odd


class CheckConfig(Config):
    """The data set at `path` is looked at by `workers` processes, None: one for each processor.

    `preview` is a picture to draw some images of each class into.
    """

    path: str
    workers: Annotated[int, Field(ge=1)] | None = None
    preview: str | None = None


class Seen(NamedTuple):
    """What looking at a file found: its digest and size, and the image's (H, W, C) or a problem."""

    digest: bytes
    num_bytes: int
    shape: tuple[int, int, int] | None
    problem: str


class Finding(NamedTuple):
    """Something to know, what to do about it, and a line for each case.

    `refused`: training does not take the data.
    """

    what: str
    advice: str
    cases: Sequence[str] = ()
    refused: bool = False

    def log(self) -> None:
        """Say it all."""
        logger.info(f"{'Problem' if self.refused else 'Note'}: {self.what}; {self.advice}")
        for case in self.cases[:_LISTED]:
            logger.info(f"    {case}")
        if len(self.cases) > _LISTED:
            logger.info(f"    and {len(self.cases) - _LISTED} more")

    def line(self) -> str:
        """The same in one line, with the first case."""
        more = ", ..." if len(self.cases) > 1 else ""
        cases = f" ({self.cases[0]}{more})" if self.cases else ""
        return f"{self.what}{cases}; {self.advice}"


def check(config: CheckConfig) -> None:
    """Log size, channels, classes and digest of a data set, and all that is odd or wrong with it.

    Raises `UserError` where training on it would be refused.
    """
    check_preview(config.preview, config.path)
    archive = ImageArchive(config.path)
    archive.warn_of_unread()
    seen = _look_at_all(archive, config.workers)
    shapes = Counter(image.shape for image in seen if image.shape is not None)
    logger.info(f"{config.path}: {len(archive)} images, {_describe(shapes)}")
    if archive.labels is not None and archive.class_names:
        log_classes(archive.class_names, archive.labels)
    findings = [*_problems(archive, seen, shapes), *_oddities(archive, seen, shapes)]
    refused = [finding for finding in findings if finding.refused]
    # A single problem of a line is the error of the end.
    told_at_end = refused if len(refused) == 1 and len(refused[0].cases) <= 1 else []
    for finding in findings:
        if finding not in told_at_end:
            finding.log()
    usable = [index for index, image in enumerate(seen) if image.shape is not None]
    if len(usable) == len(archive):
        logger.info(f"digest {archive.digest()}")
    if config.preview is not None and usable:
        draw_preview(archive, usable, Path(config.preview))
    if refused:
        others = f" ({len(refused) - 1} more above)" if len(refused) > 1 else ""
        raise UserError(f"{config.path}: training would refuse it: {refused[0].line()}{others}")
    logger.info("Training can use it" + (", see the notes above" if findings else ""))


def _look_at_all(archive: ImageArchive, workers: int | None) -> list[Seen]:
    count = min(workers or cpu_count(), -(-len(archive) // _BATCH))
    seen: list[Seen] = []
    with (
        Workers(partial(_look, archive), count) as pool,
        Progress("Checking", len(archive), "images") as bar,
    ):
        for batch in pool.map(range(len(archive)), _BATCH):
            seen += batch
            bar.update(len(batch))
    return seen


def _look(archive: ImageArchive, index: int) -> Seen:
    data = b""
    try:
        data = archive.fetch(index)
        height, width, channels = decode_image(data, archive.where(index)).shape
        shape, problem = (height, width, channels), ""
    except UserError as error:
        shape, problem = None, str(error)
    return Seen(hashlib.blake2b(data, digest_size=16).digest(), len(data), shape, problem)


Shapes = Counter[tuple[int, int, int]]


def _problems(archive: ImageArchive, seen: Sequence[Seen], shapes: Shapes) -> Iterator[Finding]:
    """Why training would refuse the data."""
    broken = [image.problem.rpartition("; ")[0] for image in seen if image.shape is None]
    if broken:
        yield Finding(
            f"{len(broken)} of {_count(len(seen), 'file')} cannot be read",
            "mend or remove them, or make a copy without them with dataset_tool.py --on-error skip",
            broken,
            refused=True,
        )
    if len(shapes) > 1:
        yield Finding(
            f"images are of {len(shapes)} different sizes or channels",
            "make a copy in which they are alike with dataset_tool.py --resolution, and --channels "
            "where these differ",
            _describe_shapes(archive, seen, shapes),
            refused=True,
        )
    elif shapes:
        (height, width, _) = next(iter(shapes))
        try:
            resolution_grid(width, height)
        except UserError as error:
            what, _, advice = str(error).rpartition("; ")
            yield Finding(what, advice, refused=True)
    if archive.labels is not None and archive.labels.ndim == 2:
        yield Finding(
            f"labels are vectors of {archive.labels.shape[1]} numbers, training takes class "
            "indices",
            "relabel the data, or train with --cond=false",
            refused=True,
        )
    elif archive.labels is not None:
        counts = np.bincount(archive.labels, minlength=len(archive.class_names)).tolist()
        try:
            check_every_class(archive.path, archive.class_names, counts)
        except UserError as error:
            what, _, advice = str(error).removeprefix(f"{archive.path}: ").rpartition("; ")
            yield Finding(what, advice, refused=True)


def _oddities(archive: ImageArchive, seen: Sequence[Seen], shapes: Shapes) -> Iterator[Finding]:
    """What training would not mind, and its user might."""
    if archive.labels is None:
        yield Finding(
            "there are no labels: training will be without classes",
            "if there are classes, put images into a folder for each, or add a dataset.json",
        )
    groups = _duplicates(seen)
    if groups:
        copies = sum(len(group) - 1 for group in groups)
        yield Finding(
            f"{_count(copies, 'file')} with the bytes of another",
            "remove the copies: they weigh twice in training and in every score",
            _equations(archive, groups),
        )
    apart = [group for group in groups if len({_label(archive, index) for index in group}) > 1]
    if apart:
        yield Finding(
            f"{_count(len(apart), 'image')} in more than one class",
            "keep each only in the class that it belongs to",
            _equations(archive, apart),
        )
    if len(shapes) > 1:
        pixels = [0 if image.shape is None else image.shape[0] * image.shape[1] for image in seen]
        yield from _outliers(
            archive, pixels, _ODD_PIXELS, "pixels", "small ones get blurred when they are enlarged"
        )
    num_bytes = [0 if image.shape is None else image.num_bytes for image in seen]
    yield from _outliers(
        archive, num_bytes, _ODD_BYTES, "bytes", "small files are often blank images"
    )


def _outliers(
    archive: ImageArchive, sizes: Sequence[int], factor: int, unit: str, why: str
) -> Iterator[Finding]:
    """Images whose size, where it is not 0, is `factor` times less or more than the median."""
    known = np.array(sizes)
    if not known.any():
        return
    median = float(np.median(known[known > 0]))
    odd = np.flatnonzero((known > 0) & ((known * factor < median) | (known > median * factor)))
    if len(odd):
        names = [f"{archive.names[index]}: {known[index]} {unit}" for index in odd.tolist()]
        yield Finding(
            f"{_count(len(odd), 'image')} more than {factor} times below or above the median of "
            f"{median:.0f} {unit}",
            f"look at them: {why}",
            names,
        )


def _duplicates(seen: Sequence[Seen]) -> list[list[int]]:
    """Indices of files with the same bytes, in groups of two and more."""
    groups: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, image in enumerate(seen):
        if image.num_bytes:
            groups[image.digest].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _label(archive: ImageArchive, index: int) -> int | None:
    return (
        int(archive.labels[index]) if archive.class_names and archive.labels is not None else None
    )


def _describe(shapes: Shapes) -> str:
    if len(shapes) == 1:
        return describe_shape(next(iter(shapes)))
    return f"of {len(shapes)} different sizes or channels" if shapes else "none of them readable"


def _describe_shapes(archive: ImageArchive, seen: Sequence[Seen], shapes: Shapes) -> list[str]:
    first = {image.shape: archive.names[index] for index, image in reversed([*enumerate(seen)])}
    return [
        f"{describe_shape(shape)}: {_count(number, 'image')}, such as {first[shape]}"
        for shape, number in shapes.most_common()
    ]


def _equations(archive: ImageArchive, groups: Sequence[Sequence[int]]) -> list[str]:
    """'a.png = b.png' for each group, of which a few names are told."""
    lines = [" = ".join(archive.names[index] for index in group[:_TOLD]) for group in groups]
    return [
        f"{line} and {len(group) - _TOLD} more" if len(group) > _TOLD else line
        for line, group in zip(lines, groups, strict=True)
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
