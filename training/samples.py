"""The pictures that a run draws of itself."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_utils.seeding import derive_seed
from training.data.dataset import ImageDataset
from training.data.images import Pixels
from training.networks.generator import Generator
from training.networks.layers import one_hot
from training.pictures import make_grid, to_uint8
from training.players import Players

MAX_ROWS = 32  # classes shown
COLUMNS = 12
NOISE_ROWS = 3  # images shown for each of D and C
NOISE_COLUMNS = 7  # strengths shown, from none on


class SampleSheet:
    """Real images and fixed latents, a row for each class (the first 32) or 8 without classes.

    `reals`: uint8 `[rows * COLUMNS, C, H, W]`; a class with too few images repeats them.
    """

    def __init__(self, generator: Generator, dataset: ImageDataset, seed: int) -> None:
        rows = min(dataset.num_classes, MAX_ROWS) or 8
        fixed = torch.Generator().manual_seed(derive_seed(seed, "samples"))
        self._z = torch.randn(rows * COLUMNS, generator.z_dim, generator=fixed)
        self._c = one_hot(torch.arange(rows).repeat_interleave(COLUMNS), dataset.num_classes)
        self.class_names = tuple(dataset.class_names)[:rows]
        self.reals = _real_rows(dataset, rows, fixed)

    @torch.no_grad()
    def fakes(self, generator: Generator, batch: int, device: torch.device) -> Tensor:
        """The same sheet as `generator` makes it now, uint8 on the CPU, `batch` at a time."""
        parts = zip(torch.split(self._z, batch), torch.split(self._c, batch), strict=True)
        images = [
            to_uint8(generator(z.to(device), c.to(device), noise_mode="const")).cpu()
            for z, c in parts
        ]
        return torch.cat(images)

    def picture(self, images: Tensor) -> Pixels:
        """A sheet's images side by side with the names of the classes, uint8 `[H, W, C]`."""
        return make_grid(images, COLUMNS, self.class_names)


def _real_rows(dataset: ImageDataset, rows: int, fixed: torch.Generator) -> Tensor:
    chosen: list[int] = []
    for row in range(rows):
        of_class = dataset.labels == row if dataset.num_classes else dataset.labels >= 0
        candidates = of_class.nonzero()[:, 0]
        order = torch.randperm(len(candidates), generator=fixed)
        chosen += candidates[order.repeat(COLUMNS)[:COLUMNS]].tolist()
    return torch.stack([dataset[index][0] for index in chosen])


@torch.no_grad()
def draw_noise(players: Players, images: Tensor) -> Pixels | None:
    """What D and C see of `images` (uint8 `[N, C, H, W]`), with more and more noise to the right.

    D's rows come first. None when neither sees noise in images.
    """
    views = [(name, v) for name, v in (("D", players.view_d), ("C", players.view_c)) if v]
    if not views or players.noise_at != "images":
        return None
    clean = images[:NOISE_ROWS].to(players.mean_path_length.device).float() / 127.5 - 1
    rows, captions = [], []
    for name, view in views:
        noisy, caption = view.examples(clean, NOISE_COLUMNS)
        rows.append(to_uint8(noisy).cpu())
        captions += [f"{name}: {caption}"] * len(clean)
    return make_grid(torch.cat(rows), NOISE_COLUMNS, captions)
