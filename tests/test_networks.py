"""G, D and C against the reference vectors, and what their conditions must change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import DATA, load_cases
from torch import Tensor

from dnnlib import UserError
from training.networks.classifier import ClassifierConfig, TrunkClassifier
from training.networks.discriminator import Discriminator, DiscriminatorConfig
from training.networks.generator import Generator, GeneratorConfig
from training.networks.grid import resolution_grid
from training.networks.layers import one_hot


def state_dict(arrays: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("case", range(3))
def test_generator_matches_the_vectors(case: int) -> None:
    meta, v = load_cases("generator.npz")[case]
    config = GeneratorConfig(
        z_dim=meta["z_dim"],
        w_dim=meta["w_dim"],
        map_layers=meta["mapping_kwargs"]["num_layers"],
        **meta["synthesis_kwargs"],
    )
    size = meta["img_resolution"]
    G = Generator(config, meta["c_dim"], size, size, meta["img_channels"])
    G.load_state_dict(state_dict(v, "sd."))
    z, c = v["z"], v["c"]
    with torch.no_grad():
        close(G.mapping(z, c), v["ws"])
        close(G(z, c, noise_mode="const"), v["y"])
        close(G(z, c, 0.5, 3, noise_mode="const"), v["y_trunc"])
        close(G(z, c, noise_mode="none"), v["y_nonoise"])


@pytest.mark.parametrize("case", range(3))
def test_discriminator_matches_the_vectors(case: int) -> None:
    meta, v = load_cases("discriminator.npz")[case]
    config = discriminator_config(meta)
    size = meta["img_resolution"]
    D = Discriminator(config, meta["c_dim"], None, size, size, meta["img_channels"])
    D.load_state_dict(state_dict(v, "sd."))
    with torch.no_grad():
        close(D(v["img"], v["c"]), v["y"])


def discriminator_config(meta: dict[str, Any]) -> DiscriminatorConfig:
    names = ("channel_base", "channel_max", "architecture", "conv_clamp")
    given = {name: meta[name] for name in names if name in meta}
    return DiscriminatorConfig(mbstd_group=meta["epilogue_kwargs"]["mbstd_group_size"], **given)


def test_discriminator_with_timesteps_matches_the_published_one() -> None:
    with np.load(DATA / "dudgan_discriminator.npz") as file:
        v = {name: torch.from_numpy(file[name]) for name in file.files if name != "meta"}
    config = DiscriminatorConfig(channel_base=128, channel_max=16, t_embed="raw")
    D = Discriminator(config, 4, 1000, 16, 16, 3)
    weights = state_dict(v, "D.sd.")
    unused = {name for name in weights if name.startswith("b4.out_1.")}
    D.load_state_dict({name: t for name, t in weights.items() if name not in unused})
    with torch.no_grad():
        close(D(v["img"], v["c"], v["t"][:, 0]), v["D_logits"])


@pytest.mark.parametrize("t_embed", ["raw", "scaled", "fourier"])
def test_wrong_label_or_wrong_timestep_changes_the_outputs(t_embed: str) -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 1, 16, 16)
    # Beside a large raw timestep a label can hardly be seen (docs/decisions.md): keep those small.
    timesteps = [0, 1, 2, 3] if t_embed == "raw" else [0, 10, 200, 900]
    labels, t = torch.tensor([0, 1, 2, 0]), torch.tensor(timesteps)
    small = {"channel_base": 128, "channel_max": 16, "t_embed": t_embed}
    D = Discriminator(DiscriminatorConfig(**small), 3, 1000, 16, 16, 1)
    C = TrunkClassifier(ClassifierConfig(embed_dim=32, **small), 3, 1000, 16, 16, 1)
    right = D(images, one_hot(labels, 3), t)
    assert (D(images, one_hot((labels + 1) % 3, 3), t) - right).abs().min() > 1e-5
    assert (D(images, one_hot(labels, 3), t + 50) - right).abs().min() > 1e-7
    assert (C.classify(images, t + 50) - C.classify(images, t)).abs().amax(1).min() > 1e-5
    assert (C.embed(images, t + 50) - C.embed(images, t)).abs().amax(1).min() > 1e-6
    torch.testing.assert_close(C.embed(images, t).norm(dim=1), torch.ones(4))


def test_classifier_sees_each_image_by_itself() -> None:
    C = TrunkClassifier(ClassifierConfig(channel_base=64, embed_dim=8), 3, 100, 8, 8, 1)
    images, t = torch.randn(4, 1, 8, 8), torch.tensor([1, 2, 3, 4])
    alone = torch.cat([C.classify(images[i : i + 1], t[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(C.classify(images, t), alone, rtol=1e-4, atol=1e-5)


def test_rectangular_images_have_a_small_base_grid() -> None:
    assert resolution_grid(320, 256).base == (5, 4)
    assert resolution_grid(256, 256).num_levels == 7
    G = Generator(GeneratorConfig(z_dim=8, w_dim=8, channel_base=64), 2, 20, 16, 3)
    D = Discriminator(DiscriminatorConfig(channel_base=64), 2, None, 20, 16, 3)
    c = one_hot(torch.tensor([0, 1]), 2)
    images = G(torch.randn(2, 8), c)
    assert images.shape == (2, 3, 16, 20)
    assert D(images, c).shape == (2, 1)


@pytest.mark.parametrize("size", [(28, 30), (17, 17), (4, 4), (1000, 8), (100, 100), (3, 16)])
def test_sizes_that_are_no_scaled_small_grid_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=f"resolution {size[0]}x{size[1]}"):
        resolution_grid(*size)


def test_truncation_at_zero_gives_the_centre() -> None:
    G = Generator(GeneratorConfig(z_dim=8, w_dim=8, channel_base=64), 2, 8, 8, 1)
    c = one_hot(torch.tensor([0, 1]), 2)
    center = torch.randn(2, 8)
    ws = G.mapping(torch.randn(2, 8), c, truncation_psi=0, center=center)
    torch.testing.assert_close(ws, center[:, None].expand_as(ws))


def test_w_avg_follows_the_mean_of_w() -> None:
    G = Generator(GeneratorConfig(z_dim=8, w_dim=8, channel_base=64), 0, 8, 8, 1)
    c = torch.zeros(64, 0)
    for seed in range(1500):
        torch.manual_seed(seed)
        G.mapping(torch.randn(64, 8), c, update_emas=True)
    mean = G.mapping(torch.randn(20000, 8), torch.zeros(20000, 0))[:, 0].mean(dim=0)
    torch.testing.assert_close(G.mapping.w_avg, mean.detach(), rtol=0, atol=0.02)
