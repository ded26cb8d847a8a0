"""The Inception of published FIDs, with weights that users bring along."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional as F

from metrics.detectors.inception_network import (
    NUM_FEATURES,
    Inception,
    Mixed,
    fold_batch_norm,
    published_shapes,
)
from metrics.detectors.network import NetworkDetector, Precision
from metrics.detectors.weights import PublicFile, PublicWeights, WeightsFile

# The first two are one file under its two public names, which carry the first digits of its
# SHA-256. The third, of StyleGAN2-ADA, holds the same network as a TorchScript program.
INCEPTION_WEIGHTS = PublicWeights(
    title="--detector inception",
    files=(
        PublicFile(
            "pt_inception-2015-12-05-6726825d.pth",
            "6726825d",
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth",
        ),
        PublicFile(
            "weights-inception-2015-12-05-6726825d.pth",
            "6726825d",
            "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
            "weights-inception-2015-12-05-6726825d.pth",
        ),
        PublicFile(
            "inception-2015-12-05.pt",
            "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
            "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
            "inception-2015-12-05.pt",
        ),
    ),
    instead="or name the file as --detector FILE, or use --detector efficientnet-lite0, which "
    "needs no file: FID, KID, precision and recall work with it, the Inception Score does not",
)
INCEPTION_ADVICE = f"use {INCEPTION_WEIGHTS.files[0].name} of pytorch-fid"


def resize_tf_bilinear(images: torch.Tensor, size: int) -> torch.Tensor:
    """Float `images` `[N, C, H, W]` as `[N, C, size, size]`, as TensorFlow 1 resized them.

    Output row i lies at the input's row i * H / size (no half-pixel centres, no antialiasing); what
    lies beyond the last row is that row. Columns alike.
    """
    for dim in (2, 3):
        length = images.shape[dim]
        if length == size:
            continue
        position = torch.arange(size, dtype=images.dtype, device=images.device) * (length / size)
        first = position.floor().long().clamp(max=length - 1)
        second = (first + 1).clamp(max=length - 1)
        share = (position - first).unsqueeze(-1) if dim == 2 else position - first
        images = torch.lerp(
            images.index_select(dim, first), images.index_select(dim, second), share
        )
    return images


class InceptionDetector(NetworkDetector):
    """`Detector` with the 2048 pooled features of FID-Inception (Heusel et al., arXiv 1706.08500).

    Beyond `Detector`, it knows the class probabilities that belong to features.
    """

    name = "inception"
    num_features = NUM_FEATURES
    input_size = 299
    resize = f"tf-bilinear-{input_size}"

    def __init__(
        self, file: WeightsFile, device: torch.device, precision: Precision = "fp32"
    ) -> None:
        """Raises `UserError` where the weights are of another network."""
        INCEPTION_WEIGHTS.check(file)
        with torch.device("meta"):  # no initial weights: no draws from a run's random generator
            network = Inception()
        published = file.published(published_shapes(network), INCEPTION_ADVICE)
        network.load_state_dict(fold_batch_norm(published), assign=True)
        super().__init__(network, file.digest, device, precision)

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `NetworkDetector`; -1 to 1."""
        return (resize_tf_bilinear(pixels, self.input_size) - 128) / 128

    def half_layers(self) -> Iterable[nn.Module]:
        """See `NetworkDetector`: all but the first convolutions, which see pixels."""
        return (layer for layer in self.network.children() if isinstance(layer, Mixed))

    @torch.inference_mode()
    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities, float32 `[N, 1008]` on the CPU, of features `[N, 2048]`.

        Of the logits without their bias, as the Inception Score has been taken since its first
        implementation (Salimans et al., arXiv 1606.03498).
        """
        assert isinstance(self.network, Inception)
        logits = F.linear(features.to(self.device), self.network.fc.weight)
        return logits.softmax(dim=1).cpu()
