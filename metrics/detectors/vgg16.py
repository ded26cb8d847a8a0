"""VGG16 on ImageNet, whose features precision and recall were published with.

Architecture: Simonyan & Zisserman, arXiv 1409.1556, table 1, column D. The names of the parts are
those of the public state dict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from metrics.detectors.base import resize_bicubic
from metrics.detectors.network import NetworkDetector, Precision
from metrics.detectors.weights import PublicFile, PublicWeights, WeightsFile

# Output channels and convolutions of each stage; a maximum over 2x2 pixels stands between stages.
_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_FIRST_HALF_LAYER = 5
NUM_FEATURES = 4096
# Of the images that the weights were trained on, RGB, in 0..255.
_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)

VGG16_WEIGHTS = PublicWeights(
    title="--detector vgg16",
    files=(
        PublicFile(
            "vgg16-397923af.pth",
            "397923af",
            "https://download.pytorch.org/models/vgg16-397923af.pth",
        ),
        PublicFile("vgg16.pt"),
    ),
    instead="or name the file as --detector FILE, or use --detector efficientnet-lite0, which "
    "needs no file: precision and recall work with it, perceptual path length does not",
)
VGG16_ADVICE = "use vgg16-397923af.pth of torchvision"


class VGG16(nn.Module):
    """The network up to its second fully connected layer."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for out_channels, num_convs in _STAGES:
            for _ in range(num_convs):
                layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU(inplace=True)]
                channels = out_channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, NUM_FEATURES),
            nn.ReLU(inplace=True),
            nn.Identity(),  # dropout, which does nothing here
            nn.Linear(NUM_FEATURES, NUM_FEATURES),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features, `[N, 4096]`, 0 or more, of normalised images `[N, 3, 224, 224]`."""
        h = self.features[:_FIRST_HALF_LAYER](x)
        h = self.features[_FIRST_HALF_LAYER:](h.to(next(self.classifier.parameters()).dtype))
        features: torch.Tensor = self.classifier(h.flatten(1))  # channels, rows, columns
        return features

    def maps(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 of normalised images `[N, 3, H, W]`."""
        for layer in list(self.features)[:-1]:
            if isinstance(layer, nn.MaxPool2d):
                yield x
            x = layer(x)
        yield x


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """The input of VGG16 from RGB `pixels`, float `[N, 3, H, W]` in 0..255."""
    mean, deviation = (pixels.new_tensor(c).view(3, 1, 1) for c in (_MEAN, _DEVIATION))
    return (pixels - mean) / deviation


def vgg16_of(file: WeightsFile) -> VGG16:
    """The network with the weights of `file`. Raises `UserError` where they are of another."""
    VGG16_WEIGHTS.check(file)
    with torch.device("meta"):  # no initial weights: no draws from a run's random generator
        network = VGG16()
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    state = file.published(shapes, VGG16_ADVICE)
    network.load_state_dict({name: state[name].float() for name in shapes}, assign=True)
    return network


class VGG16Detector(NetworkDetector):
    """`Detector` with the 4096 outputs of the second fully connected layer, after ReLU.

    Those that precision and recall look for neighbours in (Kynkäänniemi et al., arXiv 1904.06991,
    section 3). Its input is 224x224.
    """

    name = "vgg16"
    num_features = NUM_FEATURES
    input_size = 224
    resize = f"bicubic-antialias-{input_size}"

    def __init__(
        self, file: WeightsFile, device: torch.device, precision: Precision = "fp32"
    ) -> None:
        """Raises `UserError` where the weights are of another network."""
        super().__init__(vgg16_of(file), file.digest, device, precision)

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `NetworkDetector`."""
        return normalise(resize_bicubic(pixels, self.input_size))

    def half_layers(self) -> Iterable[nn.Module]:
        """See `NetworkDetector`: all but the first stage, which sees pixels."""
        assert isinstance(self.network, VGG16)
        return (self.network.features[_FIRST_HALF_LAYER:], self.network.classifier)
