"""The --cfg table: what a run does unless told otherwise."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

PresetName = Literal[
    "auto",
    "cifar",
    "stl10",
    "paper256",
    "paper512",
    "paper1024",
    "stylegan2",
    "sngan32",
    "tiny",
]
PRESET_NAMES: tuple[PresetName, ...] = get_args(PresetName)

_COLUMNS = (
    "micro_batches", "kimg", "batch", "mbstd", "channel_base", "lr", "gamma", "ema_kimg",
    "ema_rampup", "map_layers",
)  # fmt: skip
# The published runs split their batch over this many GPUs: the first column, of micro-batches.
_PUBLISHED = {
    "stl10": (4, 50000, 64, 32, 32768, 0.0025, 0.05, 500, 0.05, 2),
    "paper256": (8, 25000, 64, 8, 16384, 0.0025, 1, 20, None, 8),
    "paper512": (8, 25000, 64, 8, 32768, 0.0025, 0.5, 20, None, 8),
    "paper1024": (8, 25000, 32, 4, 32768, 0.002, 2, 10, None, 8),
    "stylegan2": (8, 25000, 32, 4, 32768, 0.002, 10, 10, None, 8),
    "cifar": (2, 100000, 64, 32, 32768, 0.0025, 0.01, 500, 0.05, 2),
}
_CIFAR = {"pl_weight": 0.0, "style_mixing": 0.0, "architecture_d": "orig"}
# What docs/results.md found best: the two views of one picture attract each other and all other
# pictures repel, C's noise is strong enough to look through, and C's label loss guides G.
_MEASURED: dict[str, Any] = {
    "noise_sd_c": 0.3,
    "lambda_g": 0.5,
    "lambda_c": 0.7,
    "label_g": 0.4,
    "contrast_g": "instance",
    "contrast_c": "instance",
}
# Learns 16x16 digits in minutes on two CPU cores; measured in docs/decisions.md.
_TINY: dict[str, Any] = _MEASURED | {
    "kimg": 80,
    "batch": 32,
    "mbstd": 4,
    "channel_base": 512,
    "channel_max": 32,
    "lr": 0.0025,
    "lr_c": 0.004,
    "gamma": 0.1,
    "ema_kimg": 10,
    "ema_rampup": 0.05,
    "map_layers": 2,
    "map_layers_d": 0,
    "latent_dim": 256,
    "embed_dim": 64,
    "channel_base_c": 128,
    "pl_weight": 0.0,
    "style_mixing": 0.0,
    "conv_clamp": None,
    "t_min": 20,
    "t_embed": "scaled",
    "tick": 4,
    "snap": 5,
}

# The small setting of the seed paper: SNGAN (Miyato 2018), a ResNet-18, local noise. The networks
# are those for 32x32 pixels; larger images get more blocks, with fewer channels.
_SNGAN32: dict[str, Any] = {
    "family": "sngan",
    "kimg": 6400,  # 100,000 steps, as SNGAN's generator took
    "batch": 64,
    "channel_base": 8192,
    "channel_max": 256,
    "latent_dim": 128,
    "lr": 0.0002,
    "lr_c": 0.0002,
    "betas": (0.5, 0.999),
    "betas_c": (0.5, 0.999),
    "weight_decay_c": 0.0,
    "joint_gc": True,
    "adversarial": "hinge",
    "gamma": 0.0,
    "pl_weight": 0.0,
    "style_mixing": 0.0,
    "ema_kimg": 500,
    "ema_rampup": 0.05,
    "noise_model": "local",
    "lambda_g": 1.0,
    "lambda_c": 0.0,
    "label_g": 0.1,
}


def preset(
    name: PresetName,
    width: int,
    height: int,
    batch: int | None,
    processes: int = 1,
    batch_gpu: int | None = None,
) -> dict[str, Any]:
    """Values of `training.options.TrainOptions` that the row called `name` sets.

    `auto` follows the resolution (pixels), the number of processes, and the batch and the
    micro-batch when these are given.
    """
    if name == "auto":
        return _auto(max(width, height), batch, processes, batch_gpu)
    if name == "tiny":
        return _TINY
    if name == "sngan32":
        return _SNGAN32
    row = dict(zip(_COLUMNS, _PUBLISHED[name], strict=True))
    return cast(dict[str, Any], row | (_CIFAR if name == "cifar" else {}))


def _auto(
    resolution: int, batch: int | None, processes: int, batch_gpu: int | None
) -> dict[str, Any]:
    most = max(min(processes * min(4096 // resolution, 32), 64), processes)
    batch = batch or most - most % processes
    part = max(batch // processes, 1)
    groups = [group for group in (4, 3, 2, 1) if group <= part]
    part = batch_gpu or part
    return _MEASURED | {
        "kimg": 25000,
        "batch": batch,
        "micro_batches": processes,
        "mbstd": next(group for group in groups if part % min(group, part) == 0),
        "channel_base": 32768 if resolution >= 512 else 16384,
        "lr": 0.002 if resolution >= 1024 else 0.0025,
        "gamma": 0.0002 * resolution**2 / batch,
        "ema_kimg": batch * 10 / 32,
        "ema_rampup": 0.05,
        "map_layers": 2,
    }
