"""Networks, data sets and images in the shapes that metrics take them (`metrics.sources`)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dnnlib import UserError
from dnnlib.logs import logger
from torch_utils.seeding import derive_seed
from training.data.archive import describe_shape
from training.data.dataset import ImageDataset
from training.data.parallel import ordered_map
from training.generation.pixel_noise import seeded_noise, synthesise_with
from training.generation.synthesis import StyleConfig, Synthesizer, drawn_labels
from training.networks.classifier import Classifier
from training.networks.generator import Generator
from training.networks.layers import one_hot
from training.networks.precision import Precision, set_precision
from training.snapshots import NetworkFile

LabelPlan = Literal["data", "even"]
_READERS = 2  # threads that read images


class DatasetImages:
    """The images of a data set."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset

    @property
    def digest(self) -> str:
        """SHA-256 of what the data set yields."""
        return self._dataset.digest

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of each."""
        return self._dataset.archive.shape

    @property
    def num_images(self) -> int:
        """How many there are, mirrored copies included."""
        return len(self._dataset)

    @property
    def mirror(self) -> bool:
        """Whether each image is also there mirrored left to right."""
        return self._dataset.config.mirror

    @property
    def labels(self) -> Tensor:
        """Class of each image, int64 `[num_images]`."""
        return self._dataset.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """One for each class."""
        return self._dataset.class_names

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Tensor]:
        """The images `indices` in that order, uint8 `[n, C, H, W]`."""
        images = ordered_map(lambda index: self._dataset[index][0], indices, _READERS)
        for first in range(0, len(indices), batch_size):
            count = min(batch_size, len(indices) - first)
            yield torch.stack([next(images) for _ in range(count)])


def numbered_as(dataset: ImageDataset, class_names: Sequence[str]) -> ImageDataset:
    """`dataset` with its classes numbered in the order of `class_names`, as many as it has.

    Where the names are others the numbers stay, with a warning.
    """
    ours = dataset.class_names
    if ours == tuple(class_names):
        return dataset
    if set(ours) != set(class_names):
        number = next(i for i, name in enumerate(class_names) if name != ours[i])
        logger.warning(
            f"--data {dataset.config.path}: its classes are not named as the network's and go by "
            f"number: class {number}, {ours[number]!r}, for {class_names[number]!r}"
        )
        return dataset
    renumbered = copy.copy(dataset)
    renumbered.class_names = tuple(class_names)
    renumbered.labels = torch.tensor([class_names.index(name) for name in ours])[dataset.labels]
    return renumbered


class FolderImages:
    """Images that another program has made, in a fixed random order."""

    def __init__(self, dataset: ImageDataset, class_names: Sequence[str]) -> None:
        """`class_names` are those of the data set to compare with: classes agree by name."""
        self._images = DatasetImages(dataset)
        self._order = np.random.default_rng(0).permutation(len(dataset)).tolist()
        self._path = dataset.archive.path
        self._labels: Tensor | None = None
        if set(dataset.class_names) <= set(class_names):
            numbers = [class_names.index(name) for name in dataset.class_names]
            if numbers:
                self._labels = torch.tensor(numbers)[dataset.labels]

    @property
    def description(self) -> dict[str, Any]:
        """Where the images come from."""
        return {"images": self._path.name, "digest": self._images.digest}

    @property
    def num_images(self) -> int:
        """How many there are."""
        return self._images.num_images

    def labels(self, indices: Sequence[int]) -> Tensor | None:
        """Class of each of these images; None where they have none, or others than the data."""
        if self._labels is None:
            return None
        return self._labels[[self._order[index] for index in indices]]

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Tensor]:
        """The images `indices` in that order, uint8 `[n, C, H, W]`."""
        return self._images.batches([self._order[index] for index in indices], batch_size)


class _Drawn:
    """Seeds and labels by index."""

    def __init__(self, dataset: ImageDataset, seed: int, labels: LabelPlan) -> None:
        self.seed, self.kind = seed, labels
        self._dataset = dataset

    def seeds(self, indices: Sequence[int]) -> list[int]:
        """A seed for each index, as good as unrelated."""
        return [derive_seed(self.seed, "metrics", index) for index in indices]

    def labels(self, indices: Sequence[int]) -> Tensor:
        """Classes int64 `[N]`: in turn, or in the proportions of the data set."""
        if self.kind == "even" and self._dataset.num_classes > 0:
            return torch.tensor(indices, dtype=torch.int64) % self._dataset.num_classes
        return drawn_labels(self._dataset.labels, self.seeds(indices))


def network_origin(path: Path, digest: str, kimg: int, precision: Precision) -> dict[str, Any]:
    """What a record says of a network: its file with the SHA-256, and how it is computed."""
    return {"network": path.name, "network_digest": digest, "kimg": kimg, "precision": precision}


class NetworkImages:
    """Endless images of a generator. Image i of a seed is always the same.

    Their classes follow the data set's proportions, or come in turn (`labels` 'even'). `origin`
    says which generator it is, in words that JSON can hold.
    """

    num_images = None

    def __init__(
        self,
        synthesizer: Synthesizer,
        dataset: ImageDataset,
        origin: Mapping[str, Any],
        seed: int = 0,
        labels: LabelPlan = "data",
    ) -> None:
        self._synthesizer, self._origin = synthesizer, dict(origin)
        self._drawn = _Drawn(dataset, seed, labels)

    @property
    def description(self) -> dict[str, Any]:
        """Where the images come from."""
        drawn = {"seed": self._drawn.seed, "labels": self._drawn.kind}
        return self._origin | self._synthesizer.style.model_dump() | drawn

    def labels(self, indices: Sequence[int]) -> Tensor:
        """Class of each of these images, int64 `[N]`."""
        return self._drawn.labels(indices)

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Tensor]:
        """The images `indices` in that order, uint8 `[n, C, H, W]` on the generator's device."""
        size = self._synthesizer.whole_groups(batch_size)
        chunks = (indices[first : first + size] for first in range(0, len(indices), size))
        images = (
            self._synthesizer.pictures(self._drawn.seeds(some), self._drawn.labels(some))
            for some in chunks
        )
        return _rebatched(images, batch_size)


def _rebatched(chunks: Iterable[Tensor], batch_size: int) -> Iterator[Tensor]:
    """The rows of `chunks` `[n, ...]` in batches of `batch_size`, and last what is left."""
    rows: Tensor | None = None
    for chunk in chunks:
        rows = chunk if rows is None else torch.cat([rows, chunk])
        whole = len(rows) // batch_size * batch_size
        yield from torch.split(rows[:whole], batch_size) if whole else ()
        rows = rows[whole:]
    if rows is not None and len(rows) > 0:
        yield rows


class NetworkPaths:
    """A generator in its two steps, without truncation, for path lengths.

    In float32 whatever the images are made in: between images 10⁻⁴ apart, 16 bits leave rounding.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        dataset: ImageDataset,
        seed: int = 0,
        labels: LabelPlan = "data",
    ) -> None:
        self._original = synthesizer.generator
        self._device = self._original.mapping.w_avg.device
        self._drawn = _Drawn(dataset, seed, labels)
        self.z_dim, self.seed = self._original.z_dim, seed

    @property
    def settings(self) -> dict[str, Any]:
        """How latents become images, whatever is asked for elsewhere."""
        return StyleConfig(noise_mode="random").model_dump() | {"precision": "fp32"}

    def labels(self, indices: Sequence[int]) -> Tensor:
        """Class of each of these paths, int64 `[N]`."""
        return self._drawn.labels(indices)

    @cached_property
    def _generator(self) -> Generator:
        """A copy, made when the first path is asked for."""
        exact = copy.deepcopy(self._original)
        set_precision(exact, "fp32", 0)
        return exact

    @torch.no_grad()
    def mapping(self, z: Tensor, labels: Tensor) -> Tensor:
        """Styles `[N, num_ws, w_dim]` of latents `[N, z_dim]`."""
        c = one_hot(labels.to(self._device), self._generator.c_dim)
        ws: Tensor = self._generator.mapping(z.to(self._device), c)
        return ws

    @torch.no_grad()
    def synthesis(self, ws: Tensor, indices: Sequence[int]) -> Tensor:
        """Images in about ±1, float32 `[N, C, H, W]`; noise follows the index."""
        seeds = [derive_seed(self.seed, "path noise", index) for index in indices]
        noise = seeded_noise(self._generator.synthesis, seeds, torch.device("cpu"))
        return synthesise_with(self._generator.synthesis, ws, noise.to(self._device)).float()


class NetworkJudge:
    """A network's classifier as a detector, whose features are the logits of each class.

    It looks at clean images: timestep 0.
    """

    precision = "fp32"

    def __init__(
        self, network: NetworkFile, class_names: Sequence[str], device: torch.device, own: bool
    ) -> None:
        """`class_names` are those of the data, which may number them in another way.

        `own` tells that the images to judge are of the same network. Raises `UserError` where it
        has no classifier, or one of other classes.
        """
        if network.players.C is None:
            raise UserError(
                f"--judge {network.path}: has no classifier; name a network that was trained with "
                "one"
            )
        facts = network.facts
        if set(facts.class_names) != set(class_names):
            raise UserError(
                f"--judge {network.path}: tells {_some(facts.class_names)} apart, and the data has "
                f"{_some(class_names)}; the classes must be the same"
            )
        self._classifier: Classifier = network.players.C.to(device)
        self._device = device
        self._shape = (facts.height, facts.width, facts.num_channels)
        self._order = [facts.class_names.index(name) for name in class_names]
        # Who has trained the generator judges it kindly.
        self.name = "own-classifier" if own else "classifier"
        self.digest = network.digest
        self.num_features = len(class_names)
        self.resize = f"none-{facts.width}x{facts.height}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits, float32 `[N, num_classes]`, of images uint8 `[N, C, H, W]`.

        Raises `UserError` for images of another shape than it was trained on.
        """
        channels, height, width = images.shape[1:]
        if (height, width, channels) != self._shape:
            raise UserError(
                f"--judge: sees {describe_shape(self._shape)} images, found "
                f"{describe_shape((height, width, channels))}"
            )
        x = images.to(self._device).float() / 127.5 - 1
        timesteps = torch.zeros(len(x), dtype=torch.int64, device=self._device)
        logits = self._classifier.classify(x, timesteps)
        return logits[:, self._order].float()


def _some(class_names: Sequence[str]) -> str:
    return ", ".join(class_names[:5]) + (", ..." if len(class_names) > 5 else "") or "no classes"
