"""Convert a source into a data set: select, change, pack, in order and byte for byte the same."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import PIL
from numpy.typing import NDArray
from pydantic import Field

from dnnlib import RunError, UserError
from dnnlib.logs import Progress, logger
from training.data.archive import ImageArchive, describe_shape
from training.data.draft import Draft, check_free, is_zip_name, open_draft
from training.data.images import IMAGE_SUFFIXES
from training.data.labels import DATASET_JSON, check_every_class
from training.data.parallel import WorkerDiedError, Workers, cpu_count
from training.data.preview import check_preview, draw_preview
from training.data.recipe import Packed, Recipe, check_recipe, pack
from training.data.report import log_classes, log_left_out
from training.data.select import Selection, select
from training.data.sources import BUILTIN, Source, SourceOptions, open_source
from training.networks.grid import resolution_grid

PositiveInt = Annotated[int, Field(ge=1)]

_BATCH = 16  # images a worker gets at once, and a line of the journal tells of


class ConvertConfig(Recipe):
    """What is converted, and how; `dest` is a zip where its name ends with .zip, else a folder."""

    source: str
    dest: str
    options: SourceOptions = SourceOptions()
    max_images: PositiveInt | None = Field(
        None, description="At most that many, spread over all classes. [all]"
    )
    max_per_class: PositiveInt | None = Field(
        None, description="At most that many of a class. [all]"
    )
    classes: tuple[str, ...] | None = Field(
        None, description="Only these classes, numbered in this order. [all]"
    )
    on_error: Literal["fail", "skip"] = Field(
        "fail", description="What an unreadable image does: end all, or be left out. [fail]"
    )
    workers: PositiveInt | None = Field(
        None, description="Processes that work. [one for each processor]"
    )
    preview: str | None = Field(
        None, description="Draw some images of each class into this picture. [no]"
    )
    overwrite: bool = False


def convert(config: ConvertConfig) -> None:
    """Write the data set that `config` asks for and log a table of its classes.

    An interrupted conversion is taken up where it ended. Raises `UserError`, leaving no trace, for
    options that do not fit, unreadable images (unless they are to be skipped) and images that
    differ in size or channels; `RunError` for a worker that died.
    """
    check_recipe(config)
    dest = _place(config.dest)
    _check_apart(config.source, dest)
    check_free(dest, config.overwrite)
    check_preview(config.preview, config.source, dest)
    source = open_source(config.source, config.options)
    selection = select(source, config.classes, config.max_per_class, config.max_images)
    workers = min(config.workers or cpu_count(), -(-len(selection.indices) // _BATCH))
    # Workers first: what is opened later is none of theirs.
    with (
        Workers(partial(pack, config, source), workers) as pool,
        open_draft(dest, _job(config, source, selection)) as draft,
    ):
        _write_images(config, source, selection, pool, draft)
        log_left_out(
            (source.where(int(selection.indices[position])), reason)
            for position, reason in draft.left_out
        )
        if draft.shape is None:
            raise UserError(
                f"--source {config.source}: has no image that can be read; check the data"
            )
        labels = None if selection.labels is None else selection.labels[draft.positions]
        content = _dataset_json(draft, labels, selection.class_names)
        draft.finish(DATASET_JSON, content, zlib.crc32(content))
    _report(config, selection, draft)


def _report(config: ConvertConfig, selection: Selection, draft: Draft) -> None:
    """Say what the data set at `config.dest` holds, and show it where that was asked for."""
    assert draft.shape is not None
    if selection.labels is not None and selection.class_names:
        counts = log_classes(selection.class_names, selection.labels[draft.positions])
        try:
            check_every_class(config.dest, selection.class_names, counts)
        except UserError as error:
            logger.warning(str(error))
    if len(draft.left_out) > len(draft.entries):
        logger.warning(f"{config.dest}: most images were left out; is that what was meant?")
    note = f" ({len(draft.left_out)} skipped)" if draft.left_out else ""
    number = len(draft.entries)
    logger.info(f"{number} images{note}, {describe_shape(draft.shape)}: {config.dest}")
    try:
        resolution_grid(draft.shape[1], draft.shape[0])
    except UserError as error:
        logger.warning(f"{config.dest}: no network takes it: {error}")
    if config.preview is not None:
        archive = ImageArchive(config.dest)
        draw_preview(archive, range(len(archive)), Path(config.preview))


def _write_images(
    config: ConvertConfig,
    source: Source,
    selection: Selection,
    pool: Workers[int, Packed | UserError],
    draft: Draft,
) -> None:
    """Add the images that `draft` does not have yet. Raises what `convert` says."""
    total, skip = len(selection.indices), config.on_error == "skip"
    if draft.done:
        logger.info(f"Going on with an interrupted conversion: {draft.done} of {total} are done")
    try:
        with Progress("Converting", total, "images", draft.done) as bar:
            for outcomes in pool.map(selection.indices[draft.done :].tolist(), _BATCH):
                for outcome in outcomes:
                    checked = _check_alike(outcome, source, selection, draft, skip)
                    if isinstance(checked, UserError) and not skip:
                        raise UserError(f"{checked}, or leave it out with --on-error skip")
                    draft.add(checked)
                draft.commit()
                bar.update(len(outcomes))
    except WorkerDiedError as error:
        first, *_, last = [*error.items] * 2
        raise RunError(
            f"--source {config.source}: a process died between {source.names[first]} and "
            f"{source.names[last]}, most often because memory ran out; {_go_on(draft, total)}, "
            "with fewer --workers"
        ) from None
    except KeyboardInterrupt:
        logger.info(_go_on(draft, total))
        raise


def _go_on(draft: Draft, total: int) -> str:
    return f"{draft.done} of {total} images are done and the same command goes on from there"


def _check_alike(
    outcome: Packed | UserError, source: Source, selection: Selection, draft: Draft, skip: bool
) -> Packed | UserError:
    """`outcome`, or the error that it differs from the first image: in short where it is to be
    left out, the same for all that differ so."""
    if isinstance(outcome, UserError) or draft.shape in {None, outcome.shape}:
        return outcome
    assert draft.shape is not None
    known, found = describe_shape(draft.shape), describe_shape(outcome.shape)
    (size, kind), other = known.split(), found.split()[1]
    if skip and kind == other:
        return UserError(f"not {size} like the first image; make all alike with --resolution")
    if skip:
        return UserError(
            f"{other}, the first image is {kind}; make all alike with --channels and --alpha"
        )
    advice = (
        "give the size that all shall have with --resolution"
        if kind == other
        else "give the channels that all shall have with --channels, and a background for "
        "transparency with --alpha"
    )
    first, this = selection.indices[[draft.positions[0], draft.done]]
    return UserError(
        f"--source: {source.where(first)} is {known}, but {source.where(this)} is {found}; all "
        f"images must be alike: {advice}"
    )


def _place(dest: str) -> Path:
    """`dest` from the top; the folder that it links to, if it does.

    Raises `UserError` for a folder that the user is in, which would be moved away.
    """
    typed = Path(dest)
    place = Path(os.path.realpath(typed.parent)) / typed.name
    if typed.is_dir():
        place = Path(os.path.realpath(typed))
    if place.suffix.lower() in IMAGE_SUFFIXES:
        raise UserError(
            f"--dest {dest}: is named like a picture, but a data set is a folder or a zip; end it "
            "with .zip, or with nothing"
        )
    here = Path.cwd()
    if place.name == ".." or place in {here, *here.parents}:
        raise UserError(
            f"--dest {dest}: must be the name of a folder or zip, and neither the current folder "
            "nor around it; choose another place"
        )
    return place


def _check_apart(source_name: str, dest: Path) -> None:
    """Refuse a destination that would overwrite the source or become a part of it."""
    if source_name in BUILTIN:
        return
    # Not `Path.resolve`, which raises for links in a circle.
    source, target = Path(os.path.realpath(source_name)), Path(os.path.realpath(dest))
    inside = source in target.parents and not is_zip_name(target)
    if source == target or inside or target in source.parents:
        raise UserError(
            f"--dest {dest}: overlaps with --source {source_name}; choose another place"
        )


def _job(config: ConvertConfig, source: Source, selection: Selection) -> str:
    """Digest of all that the result depends on, but for what is inside the source's files."""
    chosen = {*Recipe.model_fields, "options", "on_error"}
    names = [source.names[index] for index in selection.indices.tolist()]
    path = Path(config.source)
    stamp = [path.stat().st_mtime_ns, path.stat().st_size] if path.is_file() else []
    options = config.model_dump(include=chosen)
    facts = [os.path.realpath(path), stamp, names, selection.class_names, PIL.__version__, options]
    digest = hashlib.sha256(json.dumps(facts).encode())
    if selection.labels is not None:
        digest.update(selection.labels.tobytes())
    return digest.hexdigest()


def _dataset_json(
    draft: Draft,
    labels: NDArray[np.int64] | NDArray[np.float64] | None,
    class_names: Sequence[str],
) -> bytes:
    names = [entry.name for entry in draft.entries]
    pairs: Any = None if labels is None else list(zip(names, labels.tolist(), strict=True))
    content = {"labels": pairs, "class_names": class_names or None}
    return json.dumps(content, ensure_ascii=False).encode()
