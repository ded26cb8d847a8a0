"""Augmentation on a GPU: nothing waits for the device, a CUDA graph gives the same images."""

from __future__ import annotations

import pytest
import torch

from training.augment import PRESETS, AdaConfig, Augment, DiffAugmentConfig, make_augment

pytestmark = pytest.mark.gpu
CONFIGS = [AdaConfig(strengths=PRESETS["bgcfnc"], ada_kimg=1, max_p=1), DiffAugmentConfig()]


def busy(config: AdaConfig | DiffAugmentConfig) -> tuple[Augment, torch.Tensor]:
    """An augmentation whose p is well above 0, where there is one, and images for it."""
    augment = make_augment(config).cuda()
    augment.observe(torch.ones(1, 1, device="cuda"))
    augment.advance(700)
    return augment, torch.randn(6, 3, 32, 24, device="cuda").requires_grad_()


@pytest.mark.parametrize("config", CONFIGS)
def test_no_derivative_waits_for_the_device(config: AdaConfig | DiffAugmentConfig) -> None:
    augment, x = busy(config)

    def penalty() -> None:
        (gradient,) = torch.autograd.grad(augment(x).pow(3).sum(), x, create_graph=True)
        torch.autograd.grad(gradient.square().sum(), x)

    penalty()  # libraries choose their kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        penalty()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("config", CONFIGS)
def test_a_graph_gives_the_same_images(config: AdaConfig | DiffAugmentConfig) -> None:
    augment, x = busy(config)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad():
        augment(x)
        with torch.cuda.graph(graph):
            captured = augment(x)
        torch.manual_seed(0)
        graph.replay()
        torch.manual_seed(0)
        torch.testing.assert_close(captured, augment(x), rtol=0, atol=1e-5)
