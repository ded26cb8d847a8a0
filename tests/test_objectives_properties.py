"""The contrastive loss and the path lengths against their definitions, written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from training.objectives import (
    discriminator_loss,
    generator_loss,
    label_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
    supervised_contrastive_loss,
)

FEW = settings(max_examples=30, deadline=None)
labels = st.lists(st.integers(0, 3), min_size=1, max_size=5)


def unit_features(num_images: int, views: int) -> Tensor:
    return F.normalize(torch.randn(num_images, views, 4, dtype=torch.float64), dim=2)


def contrast_written_out(features: Tensor, of: list[int], temperature: float) -> float:
    """Khosla 2020, eq. 2, anchor by anchor."""
    rows = [(view, label) for image, label in zip(features, of, strict=True) for view in image]
    losses = []
    for i, (anchor, label) in enumerate(rows):
        others = [row for j, row in enumerate(rows) if j != i]
        total = sum(math.exp(anchor @ other / temperature) for other, _ in others)
        positives = [other for other, theirs in others if theirs == label]
        terms = [anchor @ other / temperature - math.log(total) for other in positives]
        losses.append(-sum(terms) / len(terms))
    return float(sum(losses) / len(losses))


@FEW
@given(labels, st.integers(2, 3), st.floats(0.05, 2), st.integers(0, 2**31))
def test_contrast_is_its_definition(
    of: list[int], views: int, temperature: float, seed: int
) -> None:
    torch.manual_seed(seed)
    features = unit_features(len(of), views)
    loss = supervised_contrastive_loss(features, torch.tensor(of), temperature)
    assert loss.item() == pytest.approx(contrast_written_out(features, of, temperature))


@FEW
@given(labels, st.integers(0, 2**31))
def test_contrast_knows_no_order_and_no_names_of_classes(of: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    features, found = unit_features(len(of), 2), torch.tensor(of)
    loss = supervised_contrastive_loss(features, found)
    order = torch.randperm(len(of))
    for same in (
        supervised_contrastive_loss(features[order], found[order]),
        supervised_contrastive_loss(features.flip(1), found),
        supervised_contrastive_loss(features, 7 - 2 * found),
    ):
        torch.testing.assert_close(same, loss)


def test_contrast_looks_at_a_temperature_of_seven_hundredths() -> None:
    torch.manual_seed(0)
    features, of = unit_features(4, 2), torch.tensor([0, 1, 1, 0])
    expected = supervised_contrastive_loss(features, of, 0.07)
    assert torch.equal(supervised_contrastive_loss(features, of), expected)


def test_contrast_stays_on_the_device_of_the_features() -> None:
    features, of = unit_features(3, 2), torch.tensor([0, 1, 1])
    with torch.device("meta"):
        assert supervised_contrastive_loss(features, of).isfinite()


@pytest.mark.parametrize("adversarial", ["softplus", "hinge"])
def test_both_players_agree_at_the_same_logit(adversarial: str) -> None:
    """G gains by what D loses: opposite slopes where D is undecided."""
    logits = torch.zeros(3, 1, dtype=torch.float64, requires_grad=True)
    (of_g,) = torch.autograd.grad(generator_loss(logits, adversarial), logits)  # type: ignore[arg-type]
    far = torch.full_like(logits, 30.0)
    (of_d,) = torch.autograd.grad(discriminator_loss(logits, far, adversarial), logits)  # type: ignore[arg-type]
    torch.testing.assert_close(of_g, -of_d)


def test_softplus_losses_are_the_entropies_of_logistic_regression() -> None:
    torch.manual_seed(0)
    fakes, reals = torch.randn(2, 7, 1, dtype=torch.float64)
    loss = F.binary_cross_entropy_with_logits
    expected = loss(fakes, torch.zeros_like(fakes)) + loss(reals, torch.ones_like(reals))
    torch.testing.assert_close(discriminator_loss(fakes, reals), expected)
    torch.testing.assert_close(generator_loss(fakes), loss(fakes, torch.ones_like(fakes)))


def test_gradient_penalty_is_a_mean_over_images_of_sums_over_pixels() -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    logits = images.pow(3).sum(dim=[1, 2, 3])[:, None] / 3
    penalty = r1_penalty(logits, images, gamma=0.5)
    torch.testing.assert_close(penalty, images.detach().pow(4).sum() / 3 * 0.25)
    (slope,) = torch.autograd.grad(penalty, images)
    torch.testing.assert_close(slope, images.detach().pow(3) / 3)


def test_path_lengths_are_those_of_each_image_and_move_the_generator() -> None:
    """image = a Σ_l W w_l with an orthonormal W: E length² is a² w_dim / (H W), for each image."""
    torch.manual_seed(0)
    height, width, dims = 4, 6, 3
    basis = torch.linalg.qr(torch.randn(height * width, dims)).Q.requires_grad_()
    scales = torch.tensor([1.0, 5.0]).repeat(3000)
    ws = torch.randn(6000, 2, dims, requires_grad=True)
    images = (ws.sum(dim=1) * scales[:, None]) @ basis.T
    lengths = path_lengths(images.reshape(-1, 1, height, width), ws)
    assert lengths.shape == (6000,)
    for scale in (1.0, 5.0):
        mean_square = lengths[scales == scale].square().mean().item()
        assert mean_square == pytest.approx(scale**2 * dims / (height * width), rel=0.06)
    penalty = path_length_penalty(lengths, torch.tensor(0.5))
    (gradient,) = torch.autograd.grad(penalty, basis)
    assert gradient.abs().max() > 0


def test_label_loss_is_averaged_over_images() -> None:
    torch.manual_seed(0)
    logits, of = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0])
    expected = -logits.log_softmax(dim=1)[range(5), of].mean()
    torch.testing.assert_close(label_loss(logits, of), expected)
