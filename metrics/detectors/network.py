"""What detectors around a frozen network share: batches, devices, memory format, precision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn

from dnnlib.errors import UserError
from metrics.detectors.base import as_rgb, in_batches

Precision = Literal["fp32", "fp16"]


class NetworkDetector(ABC):
    """A `Detector` around a network of pooled features.

    A subclass has a `name`, `num_features` and `resize`, and tells how pictures become the
    network's input.
    """

    name: str
    num_features: int
    resize: str

    def __init__(
        self, network: nn.Module, digest: str, device: torch.device, precision: Precision = "fp32"
    ) -> None:
        """`network` maps float32 `[n, 3, S, S]` to features `[n, F]`; `digest` names its weights.

        Raises `UserError` for 'fp16' where a network has no `half_layers`.
        """
        self.network = network.eval().requires_grad_(False)
        self.digest = digest
        """Hexadecimal SHA-256 of the weights file."""
        self.device, self.precision = device, precision
        if precision == "fp16":
            layers = list(self.half_layers())
            if not layers:
                raise UserError(f"--detector {self.name}:fp16: has no fp16; leave out :fp16")
            for layer in layers:
                layer.half()
        # Channels-last: on a CPU depthwise convolutions run up to twice as fast.
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @abstractmethod
    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """The network's input of RGB `pixels`, both float32, `[n, 3, H, W]` in 0..255."""

    def half_layers(self) -> Iterable[nn.Module]:
        """The layers that float16 leaves accurate enough: FID changes by less than 0.1 %.

        They bring what they get to the type of their weights.
        """
        return ()

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """See `Detector`."""
        assert images.dtype == torch.uint8 and images.ndim == 4
        return in_batches(self._extract, images, self.device)

    def _extract(self, images: torch.Tensor) -> torch.Tensor:
        x = self.prepare(as_rgb(images.to(self.device, non_blocking=True)).float())
        features: torch.Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return features.float()
