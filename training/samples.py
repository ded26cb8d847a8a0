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
from training.players import NoisyView, Players

MAX_ROWS = 32  # classes shown
COLUMNS = 12
NOISE_ROWS = 3  # images shown for each of D and C
NOISE_COLUMNS = 7  # timesteps shown, 0 to T


class SampleSheet:
    """Fixed latents, a row for each class (the first 32), or plain rows without classes."""

    def __init__(self, generator: Generator, class_names: tuple[str, ...], seed: int) -> None:
        rows = min(len(class_names), MAX_ROWS) or 8
        fixed = torch.Generator().manual_seed(derive_seed(seed, "samples"))
        self._z = torch.randn(rows * COLUMNS, generator.z_dim, generator=fixed)
        labels = torch.arange(rows).repeat_interleave(COLUMNS)
        self._c = one_hot(labels, len(class_names))
        self._captions = class_names[:rows]

    @torch.no_grad()
    def draw(self, generator: Generator, batch: int, device: torch.device) -> Pixels:
        """The sheet as `generator` makes it now, uint8 `[H, W, C]`."""
        parts = zip(torch.split(self._z, batch), torch.split(self._c, batch), strict=True)
        images = [
            to_uint8(generator(z.to(device), c.to(device), noise_mode="const")).cpu()
            for z, c in parts
        ]
        return make_grid(torch.cat(images), COLUMNS, self._captions)


def draw_reals(dataset: ImageDataset, seed: int) -> Pixels:
    """Real images laid out like a `SampleSheet`; a class with too few repeats them."""
    fixed = torch.Generator().manual_seed(derive_seed(seed, "reals"))
    rows = min(dataset.num_classes, MAX_ROWS) or 8
    chosen: list[int] = []
    for row in range(rows):
        of_class = dataset.labels == row if dataset.num_classes else dataset.labels >= 0
        candidates = of_class.nonzero()[:, 0]
        order = torch.randperm(len(candidates), generator=fixed)
        chosen += candidates[order.repeat(COLUMNS)[:COLUMNS]].tolist()
    images = torch.stack([dataset[index][0] for index in chosen])
    return make_grid(images, COLUMNS, tuple(dataset.class_names)[:rows])


@torch.no_grad()
def draw_noise(players: Players, images: Tensor) -> Pixels | None:
    """What D and C see of `images` (uint8 `[N, C, H, W]`) from t = 0 to their T, left to right.

    D's rows come first. None when neither sees noise.
    """
    views = [(name, v) for name, v in (("D", players.view_d), ("C", players.view_c)) if v]
    if not views:
        return None
    rows, captions = [], []
    for name, view in views:
        captions += [f"{name}: T = {int(view.diffusion.horizon)}"] * NOISE_ROWS
        rows.append(_noisy_rows(view, images[:NOISE_ROWS]))
    return make_grid(torch.cat(rows), NOISE_COLUMNS, captions)


def _noisy_rows(view: NoisyView, images: Tensor) -> Tensor:
    diffusion = view.diffusion
    share = torch.linspace(0, 1, NOISE_COLUMNS, device=diffusion.horizon.device)
    timesteps = (share * diffusion.horizon).round().long().repeat(len(images))
    clean = images.to(timesteps.device).float() / 127.5 - 1
    noisy = diffusion.add_noise(clean.repeat_interleave(NOISE_COLUMNS, dim=0), timesteps)
    return to_uint8(noisy).cpu()
