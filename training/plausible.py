"""Whether a file is large enough for the networks that its config describes.

A config is a few numbers, and networks are made before tensors are put into them: without a look
at both, a few bytes could ask for more memory than there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from dnnlib import UserError
from training.config import TrainingConfig
from training.diffusion import DiffusionConfig
from training.networks.classifier import ClassifierConfig
from training.networks.discriminator import DiscriminatorConfig
from training.networks.generator import GeneratorConfig
from training.networks.grid import channels_at
from training.networks.resnet18 import ResNetConfig
from training.networks.sngan_discriminator import SnganDiscriminatorConfig
from training.networks.sngan_generator import SnganGeneratorConfig
from training.networks.trunk import TrunkConfig

MAX_SIDE, MAX_LAYERS = 2**14, 64
_Channelled = GeneratorConfig | SnganGeneratorConfig | TrunkConfig | SnganDiscriminatorConfig


def check_plausible(path: Path, config: TrainingConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise `UserError` where networks of `config` have larger tensors than any of `tensors`.

    `tensors` go by the names of `Players.published`.
    """
    facts = config.facts
    if facts.num_classes != len(facts.class_names):
        raise UserError(
            f"{path}: its config has {facts.num_classes} classes and {len(facts.class_names)} "
            "names; get the file again"
        )
    if not (0 < facts.width <= MAX_SIDE and 0 < facts.height <= MAX_SIDE):
        raise UserError(f"{path}: its pictures would be {facts.width}x{facts.height} pixels")
    if max(_layers(config)) > MAX_LAYERS:
        raise UserError(f"{path}: its config has more than {MAX_LAYERS} layers of mapping")
    for name, sizes in _sizes(config).items():
        held = max(
            (t.numel() for key, t in tensors.items() if key.startswith(f"{name}.")), default=0
        )
        if max(sizes) > held:
            raise UserError(f"{path}: its {name} was made for larger tensors than it holds")


def _layers(config: TrainingConfig) -> Iterable[int]:
    return [getattr(player, "map_layers", 0) for player in (config.generator, config.discriminator)]


def _sizes(config: TrainingConfig) -> dict[str, list[int]]:
    """Numbers that the largest tensor of each network has at least."""
    g, d, c, facts = config.generator, config.discriminator, config.classifier, config.facts
    sizes = {"G_ema": [_convolution(g), g.z_dim], "D": [_convolution(d)]}
    if isinstance(g, GeneratorConfig):
        square = g.w_dim if g.map_layers > 1 or facts.num_classes else 1
        mapped = max(g.z_dim, square) if g.map_layers else 1
        sizes["G_ema"] += [facts.width * facts.height]
        sizes["G_ema"] += [g.w_dim * max(mapped, _channels(4, g), facts.num_classes)]
    else:
        sizes["G_ema"] += [_channels(4, g) * max(g.z_dim, facts.num_classes)]
    if not isinstance(d, DiscriminatorConfig):
        sizes["D"] += [_channels(8, d) * facts.num_classes]
    elif facts.num_classes or isinstance(config.diffusion_d, DiffusionConfig):
        cmap_dim = d.cmap_dim or _channels(4, d)
        square = cmap_dim if d.map_layers else 1
        sizes["D"] += [cmap_dim * max(square, _channels(4, d), facts.num_classes)]
    if c is not None:
        widest = c.embed_dim if isinstance(c, ResNetConfig) else _channels(4, c)
        sizes["C"] = [c.embed_dim * max(widest, facts.num_classes)]
    if isinstance(c, ClassifierConfig):
        sizes["C"] += [_convolution(c)]
    return sizes


def _convolution(network: _Channelled) -> int:
    """Weights of the narrowest convolution from the second lowest resolution to the lowest."""
    return _channels(8, network) * _channels(4, network)


def _channels(name: int, network: _Channelled) -> int:
    return channels_at(name, network.channel_base, network.channel_max)
