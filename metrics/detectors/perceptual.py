"""LPIPS: how different two pictures look to VGG16 (Zhang et al., arXiv 1801.03924)."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from torch.nn import functional as F

from dnnlib.errors import UserError
from dnnlib.logs import logger
from metrics.detectors.base import as_rgb, in_batches
from metrics.detectors.vgg16 import VGG16, VGG16_ADVICE, VGG16_WEIGHTS, normalise, vgg16_of
from metrics.detectors.weights import PublicFile, PublicWeights, read_weights

_CHANNELS = (64, 128, 256, 512, 512)
MIN_SIZE = 16  # leaves a pixel to the last map
_EPSILON = 1e-10

LINEAR_WEIGHTS = PublicWeights(
    title="LPIPS",
    files=(
        PublicFile(
            "vgg.pth",
            "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
            "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/vgg.pth",
        ),
    ),
    instead="or compare with plain distances alone",
)
_LINEAR_SHAPES = {
    f"lin{number}.model.1.weight": torch.Size((1, channels, 1, 1))
    for number, channels in enumerate(_CHANNELS)
}
_LINEAR_ADVICE = "use weights/v0.1/vgg.pth of lpips"


class VGG16Distance:
    """`PerceptualDistance` of Zhang et al., eq. 1: with learned channel weights, or without.

    The sum over five maps of the mean over pixels of Σ_c w_c (â_c − b̂_c)², where each pixel's
    features â, b̂ have unit length. Without learned weights all w_c are 1.
    """

    resize = "none"
    precision = "fp32"

    def __init__(
        self, network: VGG16, linear: list[Tensor] | None, digest: str, device: torch.device
    ) -> None:
        """`linear`: w, C numbers for each map; `digest` names all weights."""
        self.name = "vgg16-plain" if linear is None else "vgg16-lpips"
        self.digest = digest
        self._network = network.eval().requires_grad_(False).to(device)
        weights = [torch.ones(channels) for channels in _CHANNELS] if linear is None else linear
        self._linear = [weight.view(1, -1, 1, 1).to(device) for weight in weights]
        self._device = device

    @torch.inference_mode()
    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """See `PerceptualDistance`."""
        if min(a.shape[2:]) < MIN_SIZE:
            raise UserError(
                f"metrics: perceptual distance takes images of at least {MIN_SIZE} pixels a "
                f"side, found {a.shape[3]}x{a.shape[2]}; leave out path length"
            )
        assert a.shape == b.shape and a.is_floating_point()
        pairs = torch.stack([as_rgb(a), as_rgb(b)], dim=1)
        return in_batches(self._distances, pairs, self._device)

    def _distances(self, pairs: Tensor) -> Tensor:
        """`[N]` of `[N, 2, 3, H, W]`."""
        x = normalise(pairs.to(self._device).flatten(0, 1).float())
        total = x.new_zeros(len(pairs))
        for features, weight in zip(self._network.maps(x), self._linear, strict=True):
            unit = F.normalize(features, dim=1, eps=_EPSILON)
            squares = (unit[0::2] - unit[1::2]).square() * weight
            total += squares.sum(dim=1).mean(dim=(1, 2))
        return total


def load_distance(device: torch.device) -> VGG16Distance:
    """The distance with public weights. Raises `UserError` where those of VGG16 cannot be had.

    Without LPIPS's own it is the plain one, with a warning.
    """
    file = read_weights(VGG16_WEIGHTS.locate(), VGG16_ADVICE)
    network = vgg16_of(file)
    try:
        learned = read_weights(LINEAR_WEIGHTS.locate(), _LINEAR_ADVICE)
        LINEAR_WEIGHTS.check(learned)
        linear = learned.published(_LINEAR_SHAPES, _LINEAR_ADVICE)
    except UserError as error:
        logger.warning(f"path lengths take plain distances of VGG16 and not LPIPS: {error}")
        return VGG16Distance(network, None, file.digest, device)
    digest = hashlib.sha256(f"{file.digest} {learned.digest}".encode()).hexdigest()
    return VGG16Distance(network, list(linear.values()), digest, device)
