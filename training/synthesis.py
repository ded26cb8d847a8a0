"""Images of a finished generator: from seeds, truncated, and as metrics want them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from dnnlib import Config, UserError
from torch_utils.seeding import derive_seed
from training.data.dataset import ImageDataset
from training.data.parallel import ordered_map
from training.networks.generator import Generator, NoiseMode
from training.networks.layers import one_hot
from training.pictures import to_uint8

CPU = torch.device("cpu")
_READERS = 2  # threads that read real images


class StyleConfig(Config):
    """How latents become images: truncation and per-pixel noise."""

    trunc: float = 1.0  # psi
    trunc_center: Literal["global", "class"] = "global"
    noise_mode: NoiseMode = "const"


class Synthesizer:
    """Makes pictures with `generator`, on the device where its weights are.

    Random noise is drawn on `noise_device`: on the CPU it is the same wherever images are made,
    on the generator's own device it is quicker. Raises `UserError` for class centres of a
    generator without classes.
    """

    def __init__(
        self, generator: Generator, style: StyleConfig, noise_device: torch.device = CPU
    ) -> None:
        if style.trunc_center == "class" and generator.c_dim == 0:
            raise UserError("--trunc-center class: the network was trained without classes")
        self.generator, self.style = generator, style
        self._noise_device = noise_device
        self._device = generator.mapping.w_avg.device
        self._centers = torch.zeros(generator.c_dim, generator.mapping.w_dim, device=self._device)
        self._known = torch.zeros(generator.c_dim, dtype=torch.bool)

    def pictures(self, seeds: Sequence[int], labels: Tensor) -> Tensor:
        """One image a seed, uint8 `[N, C, H, W]` on the generator's device.

        `labels`: int64 `[N]`, of any value without classes. An image depends on its own seed and
        label alone, whatever the batch.
        """
        z = latents(seeds, self.generator.z_dim)
        ws = self.styles(z, one_hot(labels, self.generator.c_dim))
        return self.render(ws, [derive_seed(seed, "noise") for seed in seeds])

    @torch.no_grad()
    def styles(self, z: Tensor, c: Tensor) -> Tensor:
        """Truncated styles `[N, num_ws, w_dim]` of latents `[N, z_dim]`, conditions `[N, c_dim]`.

        Conditions may mix classes, then the class centre is the mix of their centres.
        """
        center = self._class_centers(c) if self.style.trunc_center == "class" else None
        ws: Tensor = self.generator.mapping(
            z.to(self._device), c.to(self._device), self.style.trunc, center=center
        )
        return ws

    @torch.no_grad()
    def render(self, ws: Tensor, noise_seeds: Sequence[int]) -> Tensor:
        """uint8 `[N, C, H, W]` of styles `[N, num_ws, w_dim]`; both on the generator's device.

        `noise_seeds`: one for each image, used where noise is random.
        """
        synthesis = self.generator.synthesis
        if self.style.noise_mode != "random":
            return to_uint8(synthesis(ws, noise_mode=self.style.noise_mode))
        # The layers' constant noise, replaced for this call by one that differs for each image.
        noise = _seeded_noise(synthesis, noise_seeds, self._noise_device, ws.device)
        images = torch.func.functional_call(synthesis, noise, (ws,), {"noise_mode": "const"})
        return to_uint8(images)

    def _class_centers(self, c: Tensor) -> Tensor:
        """`[N, w_dim]` of conditions `[N, c_dim]`; each class's centre is computed once."""
        for index in ((c != 0).any(dim=0).cpu() & ~self._known).nonzero()[:, 0].tolist():
            condition = one_hot(torch.tensor([index], device=self._device), self.generator.c_dim)
            self._centers[index] = class_center(self.generator, condition)[0]
            self._known[index] = True
        return c.to(self._device) @ self._centers


def latents(seeds: Sequence[int], z_dim: int) -> Tensor:
    """N(0, 1) float32 `[N, z_dim]` on the CPU, a row for each seed and of that seed alone."""
    rows = [torch.randn(z_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


@torch.no_grad()
def class_center(generator: Generator, c: Tensor, num_samples: int = 4096) -> Tensor:
    """The mean w of conditions `[N, c_dim]` over latents, `[N, w_dim]`: truncation's class centre.

    Computed from fixed latents, so that it needs no place in the network file.
    """
    fixed = torch.Generator().manual_seed(0)
    z = torch.randn(num_samples, generator.z_dim, generator=fixed).to(c.device)
    centers = [generator.mapping(z, row.expand(num_samples, -1))[:, 0].mean(dim=0) for row in c]
    return torch.stack(centers)


def random_classes(num_classes: int, count: int, seed: int) -> list[int]:
    """`count` classes drawn by `seed`; all differ as long as there are enough."""
    drawing = torch.Generator().manual_seed(derive_seed(seed, "class"))
    order: list[int] = torch.randperm(num_classes, generator=drawing).tolist()
    return [order[index % num_classes] for index in range(count)]


class GeneratedImages:
    """Endless generated images for metrics, labelled in the proportions of a data set.

    `labels`: those of the data set, int64 `[N]`. Image i of `seed` is always the same.
    `origin` says which generator it is, in words that JSON can hold.
    """

    def __init__(
        self, synthesizer: Synthesizer, labels: Tensor, seed: int, origin: Mapping[str, Any]
    ) -> None:
        self._synthesizer, self._labels, self._seed = synthesizer, labels, seed
        self._origin = dict(origin)

    @property
    def description(self) -> dict[str, Any]:
        """Where the images come from."""
        return self._origin | self._synthesizer.style.model_dump() | {"seed": self._seed}

    def batches(self, count: int, batch_size: int) -> Iterator[Tensor]:
        """The first `count` images, uint8 `[n, C, H, W]` on the generator's device."""
        for first in range(0, count, batch_size):
            indices = range(first, min(first + batch_size, count))
            seeds = [derive_seed(self._seed, "metrics", index) for index in indices]
            chosen = [derive_seed(seed, "label") % len(self._labels) for seed in seeds]
            yield self._synthesizer.pictures(seeds, self._labels[chosen])


class DatasetImages:
    """The images of a data set for metrics."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset

    @property
    def digest(self) -> str:
        """SHA-256 of what the data set yields."""
        return self._dataset.digest

    @property
    def num_images(self) -> int:
        """How many there are, mirrored copies included."""
        return len(self._dataset)

    @property
    def mirror(self) -> bool:
        """Whether each image is also there mirrored left to right."""
        return self._dataset.config.mirror

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Tensor]:
        """The images `indices` in that order, uint8 `[n, C, H, W]`."""
        images = ordered_map(lambda index: self._dataset[index][0], indices, _READERS)
        for first in range(0, len(indices), batch_size):
            count = min(batch_size, len(indices) - first)
            yield torch.stack([next(images) for _ in range(count)])


def _seeded_noise(
    synthesis: torch.nn.Module,
    seeds: Sequence[int],
    noise_device: torch.device,
    device: torch.device,
) -> dict[str, Tensor]:
    """Noise `[N, 1, H, W]` for each layer's buffer `noise_const`, by the buffer's name."""
    shapes = {
        name: buffer.shape
        for name, buffer in synthesis.named_buffers()
        if name.endswith("noise_const")
    }
    sizes = [shape.numel() for shape in shapes.values()]
    generator = torch.Generator(noise_device)
    rows = [
        torch.randn(sum(sizes), generator=generator.manual_seed(seed), device=noise_device)
        for seed in seeds
    ]
    parts = torch.split(torch.stack(rows).to(device), sizes, dim=1)
    return {
        name: part.reshape(-1, 1, *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
