"""Images of a finished generator: from seeds, truncated."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Literal, Self

import torch
from torch import Tensor

from dnnlib import Config, UserError
from torch_utils.seeding import derive_seed
from training.generation.cuda_graph import GraphedFunction
from training.generation.groups import group_size, in_groups
from training.generation.pixel_noise import seeded_noise, synthesise_with
from training.networks.generator import Generator, NoiseMode
from training.networks.layers import one_hot
from training.pictures import to_uint8

_CENTER_SAMPLES = 4096

CPU = torch.device("cpu")


class StyleConfig(Config):
    """How latents become images: truncation and per-pixel noise."""

    trunc: float = 1.0  # psi
    trunc_center: Literal["global", "class"] = "global"
    noise_mode: NoiseMode = "const"


class Synthesizer:
    """Makes pictures with `generator`, on the device where its weights are.

    Images are computed in groups of `group`, so that each depends on its own seed and condition
    alone, to the last bit. Random noise is drawn on `noise_device`: on the CPU it is the same
    wherever images are made, on the generator's own device it is quicker. With `cuda_graphs` a
    group's synthesis is captured and replayed. Raises `UserError` for class centres of a generator
    without classes.
    """

    def __init__(
        self,
        generator: Generator,
        style: StyleConfig,
        noise_device: torch.device = CPU,
        cuda_graphs: bool = False,
    ) -> None:
        self.generator = generator
        self.group = group_size(generator)
        self.style = _checked(style, generator)
        self._noise_device, self._cuda_graphs = noise_device, cuda_graphs
        self._device = generator.mapping.w_avg.device
        self._centers = ClassCenters(generator)
        self._graphs: dict[NoiseMode, GraphedFunction] = {}

    def with_style(self, style: StyleConfig) -> Self:
        """The same in another style; what has been computed once is shared. Raises as above."""
        other = copy.copy(self)
        other.style = _checked(style, self.generator)
        return other

    def whole_groups(self, count: int) -> int:
        """The least number of images from `count` on that wastes no work."""
        return math.ceil(count / self.group) * self.group

    def pictures(self, seeds: Sequence[int], labels: Tensor) -> Tensor:
        """One image a seed, uint8 `[N, C, H, W]` on the generator's device.

        `labels`: int64 `[N]`, of any value without classes; or conditions, float `[N, c_dim]`.
        """
        is_condition = labels.is_floating_point()
        c = labels if is_condition else one_hot(labels, self.generator.c_dim)
        ws = self.styles(latents(seeds, self.generator.z_dim), c)
        return self.render(ws, noise_seeds(seeds))

    @torch.no_grad()
    def styles(self, z: Tensor, c: Tensor) -> Tensor:
        """Truncated styles `[N, num_ws, w_dim]` of latents `[N, z_dim]`, conditions `[N, c_dim]`.

        Conditions may mix classes, then the class centre is the mix of their centres.
        """
        from_class = self.style.trunc_center == "class" and self.style.trunc != 1
        if from_class:
            self._centers.prepare(c)

        def mapped(z: Tensor, c: Tensor) -> Tensor:
            center = self._centers.mixed(c) if from_class else None
            ws: Tensor = self.generator.mapping(z, c, self.style.trunc, center=center)
            return ws

        return in_groups(mapped, self.group, z.to(self._device), c.to(self._device))

    @torch.no_grad()
    def render(self, ws: Tensor, noise_seeds: Sequence[int]) -> Tensor:
        """uint8 `[N, C, H, W]` of styles `[N, num_ws, w_dim]`; both on the generator's device.

        `noise_seeds`: one for each image, used where noise is random.
        """
        synthesis, mode = self.generator.synthesis, self.style.noise_mode

        def synthesised(ws: Tensor, noise: Tensor) -> Tensor:
            if mode == "random":
                return to_uint8(synthesise_with(synthesis, ws, noise))
            return to_uint8(synthesis(ws, noise_mode=mode))

        def graphed(ws: Tensor, noise: Tensor) -> Tensor:
            if mode not in self._graphs:
                self._graphs[mode] = GraphedFunction(synthesised, ws, noise)
            return self._graphs[mode](ws, noise)

        noise = torch.empty(len(ws), 0, device=ws.device)
        if mode == "random":
            noise = seeded_noise(synthesis, noise_seeds, self._noise_device).to(ws.device)
        function = graphed if self._cuda_graphs else synthesised
        return in_groups(function, self.group, ws, noise)


class ClassCenters:
    """The mean style of each class, computed when it is first asked for."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        w_avg = generator.mapping.w_avg
        self._centers = w_avg.new_zeros(generator.c_dim, len(w_avg))
        self._known = torch.zeros(generator.c_dim, dtype=torch.bool)

    def prepare(self, c: Tensor) -> None:
        """Compute the centres of all classes in conditions `[N, c_dim]`.

        Raises `UserError` for a condition whose weights cancel out: it has no centre.
        """
        if bool((c.sum(dim=1).abs() < 1e-6).any()):
            raise UserError(
                "--trunc-center class: the weights of a mixture must not add up to 0; use "
                "--trunc-center global"
            )
        device = self._centers.device
        for index in ((c != 0).any(dim=0).cpu() & ~self._known).nonzero()[:, 0].tolist():
            condition = one_hot(torch.tensor([index], device=device), len(self._known))
            self._centers[index] = class_center(self._generator, condition)[0]
            self._known[index] = True

    def mixed(self, c: Tensor) -> Tensor:
        """`[N, w_dim]` of conditions `[N, c_dim]`, in the proportions of their weights."""
        return (c / c.sum(dim=1, keepdim=True)) @ self._centers


@torch.no_grad()
def class_center(generator: Generator, c: Tensor) -> Tensor:
    """The mean w of conditions `[N, c_dim]` over latents, `[N, w_dim]`: truncation's class centre.

    Computed from fixed latents, so that it needs no place in the network file.
    """
    fixed = torch.Generator().manual_seed(0)
    z = torch.randn(_CENTER_SAMPLES, generator.z_dim, generator=fixed).to(c.device)
    centers = [generator.mapping(z, row.expand(_CENTER_SAMPLES, -1))[:, 0].mean(dim=0) for row in c]
    return torch.stack(centers)


def latents(seeds: Sequence[int], z_dim: int) -> Tensor:
    """N(0, 1) float32 `[N, z_dim]` on the CPU, a row for each seed and of that seed alone."""
    rows = [torch.randn(z_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


def noise_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds of the random noise of images with these `seeds`."""
    return [derive_seed(seed, "noise") for seed in seeds]


def random_classes(num_classes: int, count: int, seed: int) -> list[int]:
    """`count` classes drawn by `seed`; all differ as long as there are enough."""
    drawing = torch.Generator().manual_seed(derive_seed(seed, "class"))
    order: list[int] = torch.randperm(num_classes, generator=drawing).tolist()
    return [order[index % num_classes] for index in range(count)]


def drawn_labels(labels: Tensor, seeds: Sequence[int]) -> Tensor:
    """A label for each seed, int64 `[N]`, drawn from those of a data set, int64 `[M]`."""
    return labels[[derive_seed(seed, "label") % len(labels) for seed in seeds]]


def _checked(style: StyleConfig, generator: Generator) -> StyleConfig:
    if style.trunc_center == "class" and generator.c_dim == 0:
        raise UserError("--trunc-center class: the network was trained without classes")
    return style
