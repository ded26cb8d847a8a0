"""Truncation towards the class: a network that has learnt three shapes, and a judge of shapes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.judge import Judge, accuracy, train_judge
from dnnlib import UserError
from training.generation.synthesis import ClassCenters, StyleConfig, Synthesizer
from training.networks.generator import Generator, GeneratorConfig
from training.networks.layers import one_hot

NUM_CLASSES = 3
LABELS = torch.arange(60) % NUM_CLASSES


def shapes(labels: Tensor, brightness: Tensor) -> Tensor:
    """A bar on the left, on the right or across, of a brightness `[N]`; `[N, 1, 16, 16]`, 0..1."""
    bars = torch.zeros(NUM_CLASSES, 1, 16, 16)
    bars[0, :, :, 2:6] = bars[1, :, :, 10:14] = bars[2, :, 6:10, :] = 1
    return bars[labels] * brightness[:, None, None, None]


@pytest.fixture(scope="module")
def judge() -> Judge:
    """Has seen bars of any brightness with a little noise, and no generated one."""
    labels = torch.arange(240) % NUM_CLASSES
    fixed = torch.Generator().manual_seed(0)
    pages = shapes(labels, 0.5 + 0.5 * torch.rand(240, generator=fixed))
    noise = 0.2 * torch.rand(pages.shape, generator=fixed)
    judge, held_out = train_judge((pages + noise).clamp(0, 1), labels, epochs=20)
    assert held_out > 0.95
    return judge


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Draws the bar of its class as bright as z[0] says, learnt by regression in seconds."""
    torch.manual_seed(0)
    sizes = GeneratorConfig(z_dim=16, w_dim=16, map_lr=1, channel_base=128, channel_max=8)
    G = Generator(sizes, NUM_CLASSES, 16, 16, 1)
    optimizer = torch.optim.Adam(G.parameters(), lr=0.01, betas=(0.8, 0.99))
    for _ in range(80):
        z, labels = torch.randn(16, G.z_dim), torch.randint(NUM_CLASSES, (16,))
        ws = G.mapping(z, one_hot(labels, NUM_CLASSES), update_emas=True)
        wanted = shapes(labels, 0.75 + 0.25 * z[:, 0].sign()) * 2 - 1
        loss = (G.synthesis(ws, noise_mode="none") - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return G.eval().requires_grad_(False)


def recognised(judge: Judge, generator: Generator, style: StyleConfig) -> float:
    """Share of pictures in which the judge sees the class that was asked for."""
    pictures = Synthesizer(generator, style).pictures(range(len(LABELS)), LABELS)
    return accuracy(judge, pictures.float() / 255, LABELS)


@pytest.mark.parametrize("trunc", [0.0, 0.05])
def test_the_centre_of_the_class_keeps_the_class(
    judge: Judge, generator: Generator, trunc: float
) -> None:
    assert recognised(judge, generator, StyleConfig(noise_mode="none")) > 0.9
    style = StyleConfig(trunc=trunc, trunc_center="class", noise_mode="none")
    assert recognised(judge, generator, style) > 0.95
    style = StyleConfig(trunc=trunc, trunc_center="global", noise_mode="none")
    assert recognised(judge, generator, style) < 0.7


def test_centres_are_means_of_styles_and_mixtures_of_them(generator: Generator) -> None:
    centers = ClassCenters(generator)
    c = torch.cat([torch.eye(3), torch.tensor([[0.2, 0.0, 0.6]])])
    centers.prepare(c)
    found = centers.mixed(c)
    z = torch.randn(20000, generator.z_dim, generator=torch.Generator().manual_seed(5))
    for label in range(3):
        mean = generator.mapping(z, torch.eye(3)[label].expand(len(z), -1))[:, 0].mean(dim=0)
        assert (found[label] - mean).norm() < 0.05 * mean.norm()
    torch.testing.assert_close(found[3], 0.25 * found[0] + 0.75 * found[2])


def test_weights_that_cancel_out_have_no_centre(generator: Generator) -> None:
    synthesizer = Synthesizer(generator, StyleConfig(trunc=0.5, trunc_center="class"))
    with pytest.raises(UserError, match="must not add up to 0"):
        synthesizer.pictures([0], torch.tensor([[1.0, -1.0, 0.0]]))
