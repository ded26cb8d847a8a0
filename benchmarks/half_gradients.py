"""What half precision leaves of the gradients of a training step, against float32, on a CPU.

python -m benchmarks.half_gradients
python -m benchmarks.half_gradients --resolution 64 --scales 1,8,128,1024

The first batch of a run of `--cfg auto` with fewer channels, the four highest resolutions in fp16.
A CPU rounds as a GPU does, only slower. For each phase and loss scale it prints the smallest
cosine between the two gradients of a convolution's weights, and the smallest and largest ratio of
their lengths.
"""

from __future__ import annotations

import click
import torch
from torch import Tensor

from benchmarks.records import device_facts
from dnnlib import UserError
from dnnlib.cli import CONTEXT, NameList, run
from dnnlib.logs import logger
from torch_utils.seeding import reseed
from torch_utils.stats import Stats
from torch_utils.world import World
from training.config import DataFacts, TrainingConfig
from training.data.dataset import DataConfig
from training.networks.precision import Precision, set_precision
from training.options import make_config, resolve_options
from training.phases import Draw, Phase, make_phases
from training.players import Players

CPU = torch.device("cpu")
BATCH = 32  # that the loss is a mean over


def make_run(resolution: int, channels: int) -> TrainingConfig:
    """`--cfg auto` for random RGB images of three classes."""
    facts = DataFacts(
        width=resolution,
        height=resolution,
        num_channels=3,
        num_classes=3,
        class_names=("a", "b", "c"),
        num_images=BATCH,
        digest="none",
    )
    given = {"batch": BATCH, "channel_max": channels}
    options = resolve_options("auto", given, resolution, resolution)
    return make_config(options, DataConfig(path="none"), facts)


class Comparison:
    """The same losses in either arithmetic, of `images` images."""

    def __init__(self, config: TrainingConfig, images: int) -> None:
        reseed(config.seed)
        self.players = Players(config)
        self.phases = make_phases(self.players, config.losses)
        self.low_resolutions = config.run.low_resolutions
        self.stats = Stats(World(CPU))
        labels = torch.arange(images) % 3
        shape = (images, 3, config.facts.height, config.facts.width)
        z = torch.randn(images, self.players.G.z_dim)
        self.draw = Draw(2 * torch.rand(shape) - 1, labels, z, labels)

    def gradients(self, phase: Phase, precision: Precision, scale: float) -> list[Tensor]:
        """Of the weights of convolutions that learn in `phase`, with the scale taken back."""
        set_precision(self.players, precision, self.low_resolutions)
        buffers = {name: buffer.clone() for name, buffer in self.players.named_buffers()}
        for parameter in phase.trained:
            parameter.grad = None
        phase.wake()
        reseed(1)
        share = len(self.draw.z) / BATCH
        loss = phase.loss(self.draw, self.stats) * share * scale
        loss.backward()  # type: ignore[no-untyped-call]
        phase.sleep()
        for name, buffer in self.players.named_buffers():
            buffer.copy_(buffers[name])
        found = [p.grad for p in phase.trained if p.grad is not None and p.dim() == 4]
        return [gradient / scale for gradient in found]


def compare(half: list[Tensor], exact: list[Tensor]) -> tuple[float, float, float]:
    """The smallest cosine, and the smallest and largest ratio of lengths."""
    cosines = [
        float(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0))
        for a, b in zip(half, exact, strict=True)
    ]
    ratios = [float(a.norm() / b.norm()) for a, b in zip(half, exact, strict=True)]
    return min(cosines), min(ratios), max(ratios)


@click.command(context_settings=CONTEXT)
@click.option("--resolution", type=click.IntRange(8, 1024), default=128, show_default=True)
@click.option("--channels", type=click.IntRange(1), default=64, show_default=True, help="At most.")
@click.option("--images", type=click.IntRange(1), default=2, show_default=True)
@click.option("--scales", type=NameList(), default="1,128", show_default=True)
def main(resolution: int, channels: int, images: int, scales: list[str]) -> None:
    """Compare the gradients of a step in half precision with those in float32."""
    if not all(text.isdecimal() and int(text) > 0 for text in scales):
        raise UserError(f"--scales: takes numbers like 1,128, found {','.join(scales)}")
    comparison = Comparison(make_run(resolution, channels), images)
    logger.info(f"{device_facts(CPU)['device']}: {resolution}x{resolution}, {channels} channels")
    logger.info("phase    scale   cosine   ratio of lengths")
    for phase in comparison.phases:
        exact = comparison.gradients(phase, "fp32", 1)
        for text in scales:
            half = comparison.gradients(phase, "fp16", float(text))
            cosine, least, most = compare(half, exact)
            logger.info(f"{phase.name:8}{text:>6}{cosine:9.4f}{least:9.3f} ..{most:6.3f}")


if __name__ == "__main__":
    run(main)
