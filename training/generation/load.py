"""A trained network as a function from seeds to images.

from training.generation import load_generator

generator = load_generator("runs/00000-flowers64-cond-auto-batch32")
images = generator(seeds=[0, 1, 2], classes="rose", trunc=0.8)  # uint8 [3, 3, 64, 64]
mixed = generator(seeds=7, classes="rose:0.5+daisy:0.5")
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor

from dnnlib import Config, UserError
from dnnlib.config import naming_options
from dnnlib.logs import logger
from torch_utils.world import choose_device
from training.config import DataFacts
from training.generation.class_draw import class_drawer
from training.generation.conditions import as_tensor, parse_conditions
from training.generation.synthesis import StyleConfig, Synthesizer
from training.networks.generator import NoiseMode
from training.networks.precision import (
    Precision,
    check_precision,
    set_precision,
    set_tensor_cores,
)
from training.snapshots import NetworkFile, load_network


class ComputeConfig(Config):
    """How images are computed; the default is the same everywhere to a few last bits."""

    precision: Precision = "fp32"
    cuda_graphs: bool = False


def make_synthesizer(
    network: NetworkFile,
    device: torch.device,
    style: StyleConfig,
    compute: ComputeConfig | None = None,
) -> Synthesizer:
    """Move a network's generator to `device` and prepare it to be computed as `compute` says.

    On CUDA this decides for the whole process whether float32 products are rounded to TF32, as
    torch knows no narrower setting. Raises `UserError` for what the device does not have.
    """
    compute = compute or ComputeConfig()
    precision = compute.precision
    check_precision(precision, device)
    on_cuda = device.type == "cuda"
    if compute.cuda_graphs and not on_cuda:
        raise UserError(f"--cuda-graphs: only CUDA devices have them, found {device.type}")
    if precision == "fp16" and network.config.generator.conv_clamp is None:
        logger.warning(
            "--precision fp16: this network does not clamp its features, and those above 65504 "
            "become infinite; bf16 has room for them"
        )
    if on_cuda:
        set_tensor_cores(precision, benchmark=False)  # which might choose another kernel each time
    generator = network.generator.to(device)
    if precision in ("fp16", "bf16") or not on_cuda:
        generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    set_precision(generator, precision, network.config.run.low_resolutions)
    return Synthesizer(generator, style, cuda_graphs=compute.cuda_graphs)


class LoadedGenerator:
    """Makes images by seed and class; see the top of this module."""

    def __init__(self, facts: DataFacts, synthesizer: Synthesizer) -> None:
        self.facts = facts  # size, channels, class names
        self.synthesizer = synthesizer

    def __call__(
        self,
        seeds: int | Iterable[int],
        classes: str | int | Sequence[str | int] | None = None,
        trunc: float = 1.0,
        trunc_center: Literal["global", "class"] = "global",
        noise_mode: NoiseMode = "const",
    ) -> Tensor:
        """An image for each seed, uint8 `[N, C, H, W]` in 0..255 on the generator's device.

        Args:
            seeds: whole numbers from 0. The same seed gives the same image whatever the others.
            classes: by name or number, or a mixture such as 'dog:0.7+cat:0.3': one for all images
                or one for each. Left out, each seed draws its own.
            trunc, trunc_center, noise_mode: as generate.py takes them.

        Raises `UserError`, a `ValueError`, for a class that does not exist, a style outside its
        range, and without seeds.
        """
        if not isinstance(seeds, Iterable) or getattr(seeds, "ndim", 1) == 0:
            seeds = [cast(int, seeds)]  # also an array or tensor of no dimension
        chosen = [int(seed) for seed in seeds]
        if not chosen:
            raise UserError("seeds: takes at least one, found none")
        with naming_options():
            style = StyleConfig(trunc=trunc, trunc_center=trunc_center, noise_mode=noise_mode)
        return self.synthesizer.with_style(style).pictures(chosen, self._labels(chosen, classes))

    def _labels(
        self, seeds: Sequence[int], classes: str | int | Sequence[str | int] | None
    ) -> Tensor:
        num_classes = self.facts.num_classes
        if classes is None:
            draw = class_drawer(self.facts, self.facts.class_counts)
            return as_tensor([draw(seed) for seed in seeds], num_classes)
        each = [classes] * len(seeds) if isinstance(classes, str | int) else classes
        conditions = parse_conditions(self.facts, [str(name) for name in each])
        if len(conditions) != len(seeds):
            raise UserError(
                f"classes: takes one for all images or one for each of {len(seeds)} seeds, found "
                f"{len(conditions)}"
            )
        return as_tensor(conditions, num_classes)


def load_generator(
    network: str, device: str = "auto", precision: Precision = "fp32", cuda_graphs: bool = False
) -> LoadedGenerator:
    """The generator of a network file, URL or run folder, ready to be called.

    `device` is auto, cuda, cpu or mps. Raises `UserError`, a `ValueError`, where there is no such
    network or device.
    """
    file = load_network(network, "network")
    compute = ComputeConfig(precision=precision, cuda_graphs=cuda_graphs)
    synthesizer = make_synthesizer(file, choose_device(device), StyleConfig(), compute)
    return LoadedGenerator(file.facts, synthesizer)
