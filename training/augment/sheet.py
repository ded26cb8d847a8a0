"""A picture of what each augmentation does to the images of a data set."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from dnnlib import Config, UserError
from torch_utils.seeding import reseed
from training.augment.config import PRESETS, DiffAugmentConfig, DiffTransform, PresetName, Strengths
from training.augment.diff_augment import DiffAugment
from training.augment.pipeline import AugmentPipeline
from training.data.dataset import DataConfig, open_dataset
from training.pictures import make_grid, save_image, to_uint8

_MIN_CELL = 48  # pixels a side that smaller images are enlarged to
_DIFF_TRANSFORMS: tuple[DiffTransform, ...] = ("color", "translation", "cutout")


class SheetConfig(Config):
    """What is drawn, from which images."""

    data: str
    out: Path
    preset: PresetName = "bgc"
    probabilities: tuple[float, ...] = (0.0, 0.2, 0.5, 0.8)
    columns: int = Field(12, ge=1)  # images
    seed: int = Field(0, ge=0)


def draw_sheet(config: SheetConfig) -> None:
    """Write the sheet: the images, ADA's transforms one a row, its pipeline, DiffAugment.

    Raises `UserError` where the data cannot be read or the picture not be written.
    """
    if config.out.suffix.lower() not in (".png", ".webp"):
        raise UserError(f"--out: a .png or .webp file, found {config.out}")
    dataset = open_dataset(DataConfig(path=config.data, subset=config.columns, seed=config.seed))
    images = dataset.load_images(1).float() / 127.5 - 1
    reseed(config.seed, "augment")
    rows = {"data": images} | _transform_rows(images) | _pipeline_rows(images, config)
    rows |= _diff_rows(images)
    sheet = to_uint8(torch.cat(list(rows.values())))
    save_image(config.out, make_grid(sheet, len(images), list(rows), _MIN_CELL))


def _transform_rows(images: Tensor) -> dict[str, Tensor]:
    """Each transform alone, applied to every image."""
    always = torch.ones([])
    return {
        name.replace("_", " "): AugmentPipeline(Strengths(**{name: 1.0}))(images, always)
        for name in Strengths.model_fields
    }


def _pipeline_rows(images: Tensor, config: SheetConfig) -> dict[str, Tensor]:
    pipeline = AugmentPipeline(PRESETS[config.preset])
    return {
        f"{config.preset}, p = {p:g}": pipeline(images, torch.tensor(p))
        for p in config.probabilities
    }


def _diff_rows(images: Tensor) -> dict[str, Tensor]:
    rows = {
        f"diff: {name}": DiffAugment(DiffAugmentConfig(policy=(name,)))(images)
        for name in _DIFF_TRANSFORMS
    }
    return rows | {"diff: all": DiffAugment(DiffAugmentConfig())(images)}
