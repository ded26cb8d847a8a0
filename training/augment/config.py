"""Which augmentations are used, and how they adapt."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from dnnlib import Config

Strength = Annotated[float, Field(ge=0, le=1)]


class Strengths(Config):
    """What p is multiplied with to give the probability of each transform; 0 switches it off.

    The order is that of the pipeline (ADA, 2006.06676, appendix B).
    """

    # Pixel blitting: pixels are copied, never blended.
    x_flip: Strength = 0.0
    quarter_turn: Strength = 0.0
    integer_translation: Strength = 0.0
    # General geometry: one resampling for all.
    scaling: Strength = 0.0
    rotation: Strength = 0.0
    stretching: Strength = 0.0
    translation: Strength = 0.0
    # Colour: one affine map for all.
    brightness: Strength = 0.0
    contrast: Strength = 0.0
    luma_flip: Strength = 0.0
    hue: Strength = 0.0
    saturation: Strength = 0.0
    # Filtering in four frequency bands.
    filtering: Strength = 0.0
    # Corruption.
    noise: Strength = 0.0
    cutout: Strength = 0.0

    def uses(self, names: tuple[str, ...]) -> bool:
        """Whether any of these transforms is on."""
        return any(getattr(self, name) > 0 for name in names)


BLIT = ("x_flip", "quarter_turn", "integer_translation")
GEOMETRY = ("scaling", "rotation", "stretching", "translation")
COLOR = ("brightness", "contrast", "luma_flip", "hue", "saturation")
FILTER, NOISE, CUTOUT = ("filtering",), ("noise",), ("cutout",)

PresetName = Literal[
    "blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"
]


def _all_of(*names: str) -> Strengths:
    return Strengths(**dict.fromkeys(names, 1.0))


PRESETS: dict[PresetName, Strengths] = {
    "blit": _all_of(*BLIT),
    "geom": _all_of(*GEOMETRY),
    "color": _all_of(*COLOR),
    "filter": _all_of(*FILTER),
    "noise": _all_of(*NOISE),
    "cutout": _all_of(*CUTOUT),
    "bg": _all_of(*BLIT, *GEOMETRY),
    "bgc": _all_of(*BLIT, *GEOMETRY, *COLOR),
    "bgcf": _all_of(*BLIT, *GEOMETRY, *COLOR, *FILTER),
    "bgcfn": _all_of(*BLIT, *GEOMETRY, *COLOR, *FILTER, *NOISE),
    "bgcfnc": _all_of(*BLIT, *GEOMETRY, *COLOR, *FILTER, *NOISE, *CUTOUT),
}


class AdaConfig(Config):
    """ADA: the whole pipeline, with a probability p that adapts to D."""

    kind: Literal["ada"] = "ada"
    strengths: Strengths = PRESETS["bgc"]
    target: float = Field(0.6, ge=-1, le=1)  # mean of sign(D(real)) that p is steered to
    ada_kimg: float = Field(500.0, gt=0)  # thousand images for p to go from 0 to 1
    # Above 0.8 the augmentations begin to show in generated images (section 2.2).
    max_p: float = Field(0.8, ge=0, le=1)


DiffTransform = Literal["color", "translation", "cutout"]


def _split(policy: object) -> object:
    return tuple(policy.split(",")) if isinstance(policy, str) else policy


Policy = Annotated[tuple[DiffTransform, ...], BeforeValidator(_split)]


class DiffAugmentConfig(Config):
    """DiffAugment (Zhao 2020, 2006.10738): every image, always."""

    kind: Literal["diff"] = "diff"
    policy: Policy = ("color", "translation", "cutout")  # or "color,translation,cutout"


AugmentConfig = Annotated[AdaConfig | DiffAugmentConfig, Field(discriminator="kind")]
