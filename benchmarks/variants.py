"""What the ablation compares: a preset with a few settings changed, each under a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_STYLEGAN2: dict[str, Any] = {"classifier": False, "noise_model": "none"}
# ADA's p, like T, is to get somewhere in a short run.
_ADA: dict[str, Any] = {"aug": "ada", "aug_kimg": 100}


@dataclass(frozen=True)
class Variant:
    """Options of train.py (`training.options.TrainOptions`) that differ from the preset's."""

    what: str
    options: Mapping[str, Any]


MAIN: dict[str, Variant] = {
    "stylegan2": Variant("conditional StyleGAN2", _STYLEGAN2),
    "stylegan2-ada": Variant("StyleGAN2 + ADA", _STYLEGAN2 | _ADA),
    "diffusion-gan": Variant("Diffusion-GAN: noise for D, no C", {"classifier": False}),
    "dudgan-published": Variant(
        "DuDGAN with the published losses: class contrast, λ 0.95, raw t",
        {
            "contrast_g": "class",
            "contrast_c": "class",
            "label_g": 0,
            "lambda_g": 0.95,
            "lambda_c": 0.95,
            "t_embed": "raw",
        },
    ),
    "dudgan": Variant("DuDGAN as the preset has it", {}),
}

PARTS: dict[str, Variant] = {
    "stylegan2-diffaug": Variant("StyleGAN2 + DiffAugment", _STYLEGAN2 | {"aug": "diff"}),
    "no-noise-d": Variant("DuDGAN, D sees clean images", {"noise_d": False}),
    "no-noise-c": Variant("DuDGAN, C sees clean images", {"noise_c": False}),
    "no-noise": Variant("DuDGAN, both see clean images", {"noise_model": "none"}),
    "no-contrast": Variant("DuDGAN, no contrastive terms", {"lambda_g": 1, "lambda_c": 0}),
    "no-label": Variant("DuDGAN, no label terms", {"label_g": 0, "lambda_c": 1}),
    "class-contrast": Variant(
        "DuDGAN, class contrast", {"contrast_g": "class", "contrast_c": "class"}
    ),
    "t-raw": Variant("DuDGAN, raw timesteps", {"t_embed": "raw"}),
    "t-fourier": Variant("DuDGAN, Fourier timesteps", {"t_embed": "fourier"}),
    "lambda-0.95": Variant("DuDGAN, both λ 0.95", {"lambda_g": 0.95, "lambda_c": 0.95}),
    "dudgan-ada": Variant("DuDGAN + ADA for D and C", _ADA),
}

VARIANTS = MAIN | PARTS
