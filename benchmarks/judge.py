"""An independent judge of generated images: a classifier that saw real ones only, and spread.

Right and alike, or varied and wrong: either is easy. Both numbers together say what a
class-conditional generator has learnt.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.data.dataset import ImageDataset

INK = 0.25  # brightness of 0..1 from which a pixel counts as ink
CANVAS = 16  # pixels a side that cropped digits are brought to


class Judge(nn.Module):
    """A small convolutional classifier of `size` x `size` images, brightness 0..1."""

    def __init__(self, size: int, channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(128 * (size // 4) ** 2, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """`[N, channels, size, size]` → logits `[N, num_classes]`."""
        logits: Tensor = self.layers(images)
        return logits


def train_judge(images: Tensor, labels: Tensor, epochs: int = 15) -> tuple[Judge, float]:
    """A judge trained on nine tenths of real images, and its accuracy on the rest.

    `images` float `[N, C, size, size]` in 0..1, `labels` int64 `[N]`.
    """
    torch.manual_seed(0)
    judge = Judge(images.shape[2], images.shape[1], int(labels.max()) + 1)
    order = torch.randperm(len(images))
    held_out, kept = order[: len(order) // 10], order[len(order) // 10 :]
    optimizer = torch.optim.Adam(judge.parameters(), 1e-3)
    for _ in range(epochs):
        for batch in torch.split(kept[torch.randperm(len(kept))], 64):
            shift = torch.randint(-1, 2, (2,)).tolist()
            shifted = torch.roll(images[batch], shift, (2, 3))
            optimizer.zero_grad()
            F.cross_entropy(judge(shifted), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    judge.eval()
    return judge, accuracy(judge, images[held_out], labels[held_out])


class JudgeDetector:
    """The judge of a data set, in the shape in which metrics take it (`metrics.detectors`)."""

    name, resize, precision = "judge", "none", "fp32"

    def __init__(self, dataset: ImageDataset, device: torch.device) -> None:
        real = dataset.load_images(1).float() / 255
        judge, self.held_out_accuracy = train_judge(real, dataset.labels)
        weights = b"".join(value.numpy().tobytes() for value in judge.state_dict().values())
        self.digest = hashlib.sha256(weights).hexdigest()
        self.num_features = dataset.num_classes
        self._judge, self._device = judge.to(device), device

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits, float32 `[N, num_classes]`, of images uint8 `[N, C, H, W]`."""
        logits: Tensor = self._judge(images.to(self._device).float() / 255)
        return logits


@torch.no_grad()
def accuracy(judge: Judge, images: Tensor, labels: Tensor) -> float:
    """Share, 0 to 1, of `images` `[N, 1, 16, 16]` that the judge recognises as `labels` `[N]`."""
    return float((judge(images).argmax(dim=1) == labels).float().mean())


def crop_to_ink(digits: Tensor) -> Tensor:
    """Each digit's inked box stretched to the canvas, `[N, 1, 16, 16]`: place and size drop out."""
    return torch.stack([_crop(digit) for digit in digits])


def class_spread(digits: Tensor, labels: Tensor) -> float:
    """Mean over pixels and classes of the standard deviation within the class, digits cropped.

    `digits` `[N, 1, 16, 16]`, `labels` int64 `[N]`; in units of the digits.
    """
    cropped = crop_to_ink(digits)
    classes = sorted(set(labels.tolist()))
    return float(torch.stack([cropped[labels == k].std(dim=0).mean() for k in classes]).mean())


def _crop(digit: Tensor) -> Tensor:
    inked = digit[0] > INK
    rows, columns = inked.any(dim=1).nonzero()[:, 0], inked.any(dim=0).nonzero()[:, 0]
    if len(rows) == 0:
        return digit.new_zeros(1, CANVAS, CANVAS)
    box = digit[None, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return F.interpolate(box, (CANVAS, CANVAS), mode="bilinear", align_corners=False)[0]
