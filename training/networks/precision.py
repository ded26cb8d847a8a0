"""Which blocks of a network compute in 16 bits."""

from __future__ import annotations

import re
from typing import Literal

import torch
from torch import nn

from dnnlib import UserError
from torch_utils.tensor_cores import allow_tf32
from training.networks.generator import SynthesisBlock
from training.networks.resnet18 import ResNetStage
from training.networks.sngan_discriminator import SnganBlock
from training.networks.sngan_generator import SnganUpBlock
from training.networks.trunk import TrunkBlock

Precision = Literal["fp32", "tf32", "fp16", "bf16"]

_BLOCKS = SynthesisBlock | TrunkBlock | SnganUpBlock | SnganBlock | ResNetStage
_DTYPES: dict[str, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}


def set_precision(network: nn.Module, precision: Precision, num_resolutions: int) -> None:
    """Let the blocks of the highest resolutions compute in `precision`, the others in float32.

    Parameters stay float32. The base grid is never among the `num_resolutions` (StyleGAN2-ADA,
    appendix D.1: the four highest are enough for most of the speed).
    """
    blocks = [
        (int(number[1]), module)
        for name, module in network.named_modules()
        if isinstance(module, _BLOCKS) and (number := re.search(r"\bb(\d+)$", name))
    ]
    resolutions = {resolution for resolution, _ in blocks if resolution > 4}
    highest = sorted(resolutions, reverse=True)[:num_resolutions]
    for resolution, block in blocks:
        low = resolution in highest and precision in _DTYPES
        block.dtype = _DTYPES[precision] if low else torch.float32


def default_precision(device: torch.device) -> Precision:
    """fp16 on CUDA, as the published networks were trained; fp32 elsewhere."""
    return "fp16" if device.type == "cuda" else "fp32"


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise `UserError` when `device` does not compute in `precision`."""
    if device.type != "cuda" and precision in ("fp16", "tf32"):
        raise UserError(
            f"--precision {precision}: only CUDA devices compute in it, found {device.type}; use "
            "fp32 or bf16"
        )


def set_tensor_cores(precision: Precision, benchmark: bool) -> None:
    """Let CUDA's float32 matrix products be rounded to TF32, and cuDNN try its algorithms out.

    These are settings of the process: torch knows no narrower ones.
    """
    allowed = precision == "tf32"
    allow_tf32(matmul=allowed, cudnn=allowed)
    torch.backends.cudnn.benchmark = benchmark
