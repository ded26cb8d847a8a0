"""Which networks play: their configs, told apart by `kind`, and what is made of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Tag

from training.kinds import by_kind
from training.networks.classifier import Classifier, ClassifierConfig, TrunkClassifier
from training.networks.discriminator import Discriminator, DiscriminatorConfig
from training.networks.generator import GeneratorConfig
from training.networks.resnet18 import ResNet18, ResNetConfig
from training.networks.sngan_discriminator import SnganDiscriminator, SnganDiscriminatorConfig
from training.networks.sngan_generator import SnganGeneratorConfig

AnyGeneratorConfig = Annotated[
    Annotated[GeneratorConfig, Tag("stylegan2")] | Annotated[SnganGeneratorConfig, Tag("sngan")],
    by_kind("stylegan2"),
]
AnyDiscriminatorConfig = Annotated[
    Annotated[DiscriminatorConfig, Tag("stylegan2")]
    | Annotated[SnganDiscriminatorConfig, Tag("sngan")],
    by_kind("stylegan2"),
]
AnyClassifierConfig = Annotated[
    Annotated[ClassifierConfig, Tag("trunk")] | Annotated[ResNetConfig, Tag("resnet18")],
    by_kind("trunk"),
]
Shape = tuple[int, int, int]  # width, height, channels of images


def make_discriminator(
    config: DiscriminatorConfig | SnganDiscriminatorConfig,
    num_classes: int,
    t_max: int | None,
    shape: Shape,
) -> Discriminator | SnganDiscriminator:
    """D for images of `shape`; `t_max` is its largest timestep, None where it sees none."""
    if isinstance(config, SnganDiscriminatorConfig):
        return SnganDiscriminator(config, num_classes, t_max, *shape)
    return Discriminator(config, num_classes, t_max, *shape)


def make_classifier(
    config: ClassifierConfig | ResNetConfig, num_classes: int, t_max: int | None, shape: Shape
) -> Classifier:
    """C for images of `shape`; `t_max` as for D."""
    if isinstance(config, ResNetConfig):
        return ResNet18(config, num_classes, t_max, *shape)
    return TrunkClassifier(config, num_classes, t_max, *shape)
