"""The losses against the vectors, closed forms and hand-made cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import DATA

from training.objectives import (
    discriminator_loss,
    generator_loss,
    label_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
    supervised_contrastive_loss,
)


def test_supcon_matches_the_vectors() -> None:
    with np.load(DATA / "dual_diffusion.npz") as file:
        features = torch.from_numpy(file["sup_features"]).requires_grad_()
        labels = torch.from_numpy(file["sup_labels"])
        expected, gradient = torch.tensor(file["sup_loss"]), torch.from_numpy(file["sup_grad"])
    loss = supervised_contrastive_loss(features, labels, 0.07)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    torch.testing.assert_close(features.grad, gradient)


def test_supcon_prefers_classes_that_stand_apart() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.eye(2)[labels][:, None].expand(-1, 2, -1)
    mixed = torch.eye(2)[torch.tensor([0, 1, 0, 1])][:, None].expand(-1, 2, -1)
    right = supervised_contrastive_loss(apart, labels)
    assert right < supervised_contrastive_loss(mixed, labels)
    assert right.item() == pytest.approx(math.log(3), abs=1e-3)  # three equal positives


def test_adversarial_losses_have_the_right_sign_and_scale() -> None:
    zero, ten = torch.zeros(4, 1), torch.full([4, 1], 10.0)
    assert generator_loss(zero).item() == pytest.approx(math.log(2))
    assert discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert generator_loss(ten) < generator_loss(-ten)
    assert discriminator_loss(-ten, ten) < discriminator_loss(ten, -ten)


def test_hinge_losses_are_their_closed_form() -> None:
    """Miyato 2018, 1802.05957, eq. 16 and 17: nothing is gained beyond the margins."""
    fakes = torch.tensor([[-3.0], [-0.5], [2.0]], requires_grad=True)
    reals = torch.tensor([[4.0], [0.25], [-1.0]], requires_grad=True)
    loss = discriminator_loss(fakes, reals, "hinge")
    assert loss.item() == pytest.approx((0 + 0.5 + 3) / 3 + (0 + 0.75 + 2) / 3)
    loss.backward()
    assert fakes.grad is not None and reals.grad is not None
    torch.testing.assert_close(fakes.grad[:, 0], torch.tensor([0.0, 1.0, 1.0]) / 3)
    torch.testing.assert_close(reals.grad[:, 0], torch.tensor([0.0, -1.0, -1.0]) / 3)
    assert generator_loss(fakes, "hinge").item() == pytest.approx((3 + 0.5 - 2) / 3)


def test_r1_of_a_linear_discriminator_is_its_squared_weight() -> None:
    weight = torch.randn(3, 4, 4, requires_grad=True)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty((images * weight).sum(dim=[1, 2, 3])[:, None], images, gamma=3.0)
    torch.testing.assert_close(penalty, 1.5 * weight.square().sum())
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, 3.0 * weight.detach())


def test_path_length_of_a_linear_generator_is_its_norm() -> None:
    torch.manual_seed(0)
    scale = 2.0  # image = scale * w repeated: E ‖Jᵀy‖² = scale² / (H W) * H W per component
    ws = torch.randn(4000, 3, 2, requires_grad=True)
    images = scale * ws.sum(dim=1)[:, :, None, None].expand(-1, -1, 4, 4)
    lengths = path_lengths(images, ws)
    assert lengths.square().mean().item() == pytest.approx(scale**2 * 2, rel=0.05)
    assert path_length_penalty(torch.tensor([1.0, 3.0]), torch.tensor(1.0)).item() == 2.0


def test_label_loss_is_cross_entropy() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    expected = math.log(1 + math.exp(-2.0))
    assert label_loss(logits, torch.tensor([0, 1])).item() == pytest.approx(expected)
