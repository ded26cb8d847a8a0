"""What D and C see of images, over the strengths of their noise and over training."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor

from torch_utils.seeding import derive_seed
from training.augment import AdaptiveAugment, make_augment
from training.config import TrainingConfig
from training.data.dataset import ImageDataset
from training.data.images import Pixels
from training.local_noise import LocalNoise
from training.pictures import make_grid, to_uint8
from training.players import make_view
from training.study.stages import Stage, noisy_networks
from training.views import DiffusedView, View

COLUMNS = 7  # strengths of noise shown, from none on
_MAX_SIDE = 128  # pixels of an image; of larger ones every second, third, ... pixel is shown


def pick_images(dataset: ImageDataset, count: int, seed: int) -> Tensor:
    """`count` images of different classes while there are any left, uint8 `[count, C, H, W]`.

    Of images above 128 pixels a side every k-th pixel is taken, so that the noise added to them
    is as strong as in training.
    """
    shuffled = torch.Generator().manual_seed(derive_seed(seed, "study"))
    order = torch.randperm(len(dataset), generator=shuffled)
    seen: Counter[int] = Counter()
    turns = []  # how many of the class came before
    for label in dataset.labels[order].tolist():
        turns.append(seen[label])
        seen[label] += 1
    by_turn = order[torch.tensor(turns).argsort(stable=True)]
    chosen = by_turn[torch.arange(count) % len(order)]
    step = math.ceil(max(dataset.width, dataset.height) / _MAX_SIDE)
    return dataset.read_batch(chosen.tolist())[:, :, ::step, ::step]


@torch.no_grad()
def noisy_sheet(
    images: Tensor, network: str, stages: list[Stage], config: TrainingConfig
) -> Pixels:
    """Images uint8 `[N, C, H, W]` as `network` (D or C) sees them, uint8 `[H', W', C]`.

    N rows for each stage, seven columns of more and more noise: of a diffusion at the timesteps 0,
    T/6, ... T, of local noise without and then of the classes from the least noisy to the noisiest.
    """
    rows = []
    for stage in stages:
        view = view_at(network, stage, config)
        seen = _augmented(images.float() / 127.5 - 1, network, stage, config)
        rows.append(to_uint8(view.examples(seen, COLUMNS)[0]))
    return make_grid(torch.cat(rows), COLUMNS)


@torch.no_grad()
def view_at(network: str, stage: Stage, config: TrainingConfig) -> View:
    """What `network` (D or C) sees at `stage`."""
    horizon = config.horizon_d if network == "D" else config.horizon_c
    view = make_view(noisy_networks(config)[network], horizon, config.facts.num_classes)
    assert view is not None
    if isinstance(view, DiffusedView):
        view.diffusion.set_horizon(torch.tensor(stage.horizons[network]))
    elif isinstance(view, LocalNoise):
        assert stage.local_sd is not None
        view.rho.copy_((torch.linspace(*stage.local_sd, len(view.rho)) / view.max_sd).logit())
    return view


def _augmented(images: Tensor, network: str, stage: Stage, config: TrainingConfig) -> Tensor:
    """Images as they are augmented before the noise of `network`, or as they are."""
    if config.augment is None or (network == "C" and not config.augment_c):
        return images
    augment = make_augment(config.augment)
    if isinstance(augment, AdaptiveAugment) and stage.p_augment is not None:
        augment.probability.p.fill_(stage.p_augment)
    augmented: Tensor = augment(images)
    return augmented
