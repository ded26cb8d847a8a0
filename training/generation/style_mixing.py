"""Pictures with the styles of one picture in some layers and of another in the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dnnlib import Config, UserError
from dnnlib.logs import logger, track
from torch_utils.world import choose_device
from training.captions import drawable
from training.config import DataFacts
from training.data.images import Pixels
from training.generation.conditions import ANYTHING
from training.generation.gallery import GRID_FILE
from training.generation.load import ComputeConfig, make_synthesizer
from training.generation.manifest import Facts, Manifest, common_facts
from training.generation.picture_stream import Seeded
from training.generation.plan import Item, Plan, plan_pictures
from training.generation.synthesis import StyleConfig, Synthesizer, noise_seeds
from training.pictures import make_grid, save_image
from training.snapshots import load_network

MATRIX_CELL = 64  # pixels of a picture in the matrix, at least
MAX_MIXED = 4096  # pictures of a matrix
MAX_MATRIX_PIXELS = 2**28


class StyleMixingConfig(Config):
    """Which pictures of a network are mixed, in which layers, and where they go."""

    network: str
    outdir: Path
    rows: tuple[int, ...] = Field(min_length=1)  # seeds
    columns: tuple[int, ...] = Field(min_length=1)  # seeds
    layers: tuple[int, ...] | None = None  # that follow the column; None: the first half
    classes: tuple[str, ...] | None = None  # None: each seed draws its class
    row_classes: tuple[str, ...] | None = None  # None: as `classes` says
    column_classes: tuple[str, ...] | None = None
    style: StyleConfig
    images: bool = False  # a file for each picture too
    batch: Annotated[int, Field(ge=1)] = 16
    device: str = "auto"
    compute: ComputeConfig = ComputeConfig()


def mix_styles(config: StyleMixingConfig) -> None:
    """Write the matrix: pictures of rows to the left, of columns above, mixed where they meet.

    Raises `UserError` for a network, layer, class, device or place that cannot be used.
    """
    device = choose_device(config.device)
    network = load_network(config.network)
    layers = mixed_layers(config.layers, network.generator.num_ws)
    rows, columns = _plan_lines(config, network.facts)
    synthesizer = make_synthesizer(network, device, config.style, config.compute)
    common = common_facts(network, config.style, config.compute.precision)
    facts = {"styles": layers, **common}

    row_ws, column_ws = (line.source.styles(synthesizer, line.items) for line in (rows, columns))
    ws = torch.cat([row_ws, column_ws, mix(row_ws, column_ws, layers)])
    # A mixed picture has the random noise of its row.
    items = [*rows.items, *columns.items, *(item for item in rows.items for _ in columns.items)]
    pictures = _rendered(synthesizer, ws, [seed for seed, _ in items], config.batch)
    images = torch.stack(list(track(pictures, "Mixing", len(items), "images")))

    if config.images:
        _write_images(config.outdir, images, rows, columns, facts, common)
    grid = _matrix(images, rows, columns)
    save_image(
        config.outdir / GRID_FILE, grid, {"rows": rows.facts, "columns": columns.facts, **facts}
    )
    logger.info(
        f"{len(rows.items)} rows, {len(columns.items)} columns: {config.outdir / GRID_FILE}"
    )


def mix(rows: Tensor, columns: Tensor, layers: Sequence[int]) -> Tensor:
    """Styles of all pairs `[R * C, num_ws, w_dim]`, a row after the other.

    Those of `rows` `[R, num_ws, w_dim]`, and in `layers` those of `columns` `[C, num_ws, w_dim]`.
    """
    mixed = rows[:, None].repeat(1, len(columns), 1, 1)
    mixed[:, :, list(layers)] = columns[:, list(layers)]
    return mixed.flatten(0, 1)


def mixed_layers(wanted: Sequence[int] | None, num_ws: int) -> list[int]:
    """The layers that are mixed, sorted; None: the first half, which decides on pose and shape.

    Raises `UserError` for layers that a network of `num_ws` does not have.
    """
    if num_ws == 1:
        raise UserError("--network: all layers of its generator share one style; nothing to mix")
    layers = sorted(set(range(num_ws // 2) if wanted is None else wanted))
    if layers[-1] >= num_ws:
        raise UserError(
            f"--styles: the network has the layers 0 to {num_ws - 1}, found {layers[-1]}"
        )
    return layers


class _Line:
    """The pictures along a side of the matrix."""

    def __init__(self, plan: Plan) -> None:
        self.source = Seeded(plan)
        self.items: list[Item] = [plan[index] for index in range(len(plan))]
        self.described = [self.source.describe(item) for item in self.items]
        self.facts = [facts for _, facts in self.described]

    def captions(self) -> list[str]:
        """Seed and class of each."""
        return [
            str(seed) if condition is ANYTHING else f"{seed}: {drawable(condition.name)}"
            for seed, condition in self.items
        ]


def _plan_lines(config: StyleMixingConfig, facts: DataFacts) -> tuple[_Line, _Line]:
    """Rows and columns. Raises `UserError` where there are too many."""
    of_rows = config.row_classes or config.classes
    of_columns = config.column_classes or config.classes
    rows = plan_pictures(facts, config.rows, of_rows)
    if of_columns == of_rows:
        columns = replace(rows, seeds=list(dict.fromkeys(config.columns)))
    else:
        columns = plan_pictures(facts, config.columns, of_columns)
    _check_size(len(rows), len(columns), facts)
    return _Line(rows), _Line(columns)


def _check_size(num_rows: int, num_columns: int, facts: DataFacts) -> None:
    count = (num_rows + 1) * (num_columns + 1)
    pixels = count * max(facts.width, MATRIX_CELL) * max(facts.height, MATRIX_CELL)
    if count > MAX_MIXED or pixels > MAX_MATRIX_PIXELS:
        raise UserError(
            f"--rows and --cols: {num_rows} x {num_columns} pictures are too many for a matrix; "
            f"at most {MAX_MIXED} pictures and {MAX_MATRIX_PIXELS} pixels are allowed"
        )


def _rendered(
    synthesizer: Synthesizer, ws: Tensor, seeds: Sequence[int], batch: int
) -> Iterator[Tensor]:
    """uint8 `[C, H, W]` on the CPU for each style, about `batch` made at a time."""
    size = synthesizer.whole_groups(batch)
    for first in range(0, len(ws), size):
        some = slice(first, first + size)
        yield from synthesizer.render(ws[some], noise_seeds(seeds[some])).cpu()


def _parts(images: Tensor, rows: _Line, columns: _Line) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of rows `[R, ...]`, of columns `[C, ...]`, and mixed ones `[R, C, ...]`."""
    r, c = len(rows.items), len(columns.items)
    of_rows, of_columns, mixed = torch.split(images, [r, c, r * c])
    return of_rows, of_columns, mixed.reshape(r, c, *mixed.shape[1:])


def _matrix(images: Tensor, rows: _Line, columns: _Line) -> Pixels:
    of_rows, of_columns, mixed = _parts(images, rows, columns)
    top = torch.cat([torch.zeros_like(of_columns[:1]), of_columns])
    table = torch.cat([top[None], torch.cat([of_rows[:, None], mixed], dim=1)])
    return make_grid(
        table.flatten(0, 1),
        table.shape[1],
        captions=["", *rows.captions()],
        min_cell=MATRIX_CELL,
        heads=["", *columns.captions()],
    )


def _write_images(
    outdir: Path, images: Tensor, rows: _Line, columns: _Line, facts: Facts, common: Facts
) -> None:
    """A file for each picture, and how it was made in it and in the manifest."""
    described = [(stem, {**own, **common}) for stem, own in (*rows.described, *columns.described)]
    described += [
        (f"{row}_{column}", {"row": row_facts, "column": column_facts, **facts})
        for row, row_facts in rows.described
        for column, column_facts in columns.described
    ]
    manifest = Manifest(outdir)
    for image, (stem, told) in zip(images, described, strict=True):
        save_image(outdir / f"{stem}.png", image.permute(1, 2, 0).numpy(), told)
        manifest.add(f"{stem}.png", told)
