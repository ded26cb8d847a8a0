"""SNGAN: spectral norms, batch normalisation, and the interface that all networks share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from training.networks.batch_norm import ConditionalBatchNorm
from training.networks.generator import Generator
from training.networks.layers import one_hot
from training.networks.precision import set_precision
from training.networks.resnet18 import ResNet18, ResNetConfig
from training.networks.sngan_discriminator import SnganDiscriminator, SnganDiscriminatorConfig
from training.networks.sngan_generator import SnganGeneratorConfig, SnganSynthesis
from training.networks.spectral import SpectralConv2d, SpectralLayer, SpectralLinear

SMALL_G = SnganGeneratorConfig(z_dim=8, channel_base=256, channel_max=16)
SMALL_D = SnganDiscriminatorConfig(channel_base=128, channel_max=8)


def generator(c_dim: int = 3, size: int = 16) -> Generator:
    torch.manual_seed(0)
    return Generator(SMALL_G, c_dim, size, size, 3)


def discriminator(c_dim: int = 3, t_max: int | None = None, size: int = 16) -> SnganDiscriminator:
    torch.manual_seed(1)
    return SnganDiscriminator(SMALL_D, c_dim, t_max, size, size, 3)


@pytest.mark.parametrize("layer", [SpectralConv2d(5, 7, 3), SpectralLinear(11, 6)])
def test_power_iteration_finds_the_largest_singular_value(layer: SpectralLayer) -> None:
    """Against torch's own decomposition, of the weight as a matrix [out, the rest]."""
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight))
        for _ in range(500):
            layer.iterate()
        before = torch.linalg.svdvals(layer.weight.flatten(1))
        after = torch.linalg.svdvals(layer.normalised_weight().flatten(1))
    torch.testing.assert_close(after, before / before[0], rtol=1e-4, atol=1e-5)
    assert before[0] > 1.5  # and there was something to normalise


def test_a_fresh_layer_is_normalised_already() -> None:
    for layer in discriminator().modules():
        if isinstance(layer, SpectralLayer):
            largest = torch.linalg.svdvals(layer.normalised_weight().detach().flatten(1))[0]
            assert 0.999 < largest < 1.06, layer  # power iteration comes from below


def test_the_gradient_is_that_of_torchs_spectral_norm() -> None:
    ours = SpectralLinear(6, 4, bias=False).double()
    theirs = parametrizations.spectral_norm(nn.Linear(6, 4, bias=False).double())
    theirs.eval()  # so that its vectors stay as they are set
    with torch.no_grad():
        norm = theirs.parametrizations.weight  # type: ignore[union-attr]
        norm.original.copy_(ours.weight)
        norm[0]._u.copy_(ours.u)
        norm[0]._v.copy_(F.normalize(ours.u @ ours.weight, dim=0))
    x = torch.randn(3, 6, dtype=torch.float64)
    (expected,) = torch.autograd.grad(theirs(x).square().sum(), norm.original)
    (gradient,) = torch.autograd.grad(ours(x).square().sum(), ours.weight)
    torch.testing.assert_close(gradient, expected)


def test_a_pass_leaves_the_estimate_alone_and_an_iteration_moves_it() -> None:
    D = discriminator()
    before = {name: tensor.clone() for name, tensor in D.named_buffers()}
    D(torch.randn(4, 3, 16, 16), one_hot(torch.arange(4) % 3, 3))
    assert all(torch.equal(tensor, before[name]) for name, tensor in D.named_buffers())
    layer = D.get_submodule("b16.conv1")
    assert isinstance(layer, SpectralLayer)
    layer.iterate()
    assert not torch.equal(layer.u, before["b16.conv1.u"])


@pytest.mark.parametrize(("width", "height"), [(8, 8), (16, 16), (64, 64), (20, 16), (32, 64)])
@pytest.mark.parametrize("c_dim", [0, 3])
def test_networks_fit_every_size(width: int, height: int, c_dim: int) -> None:
    G = Generator(SMALL_G, c_dim, width, height, 2)
    D = SnganDiscriminator(SMALL_D, c_dim, None, width, height, 2)
    C = ResNet18(ResNetConfig(embed_dim=32), 3, None, width, height, 2)
    c = one_hot(torch.tensor([0, 1]), c_dim)
    images = G(torch.randn(2, 8), c)
    assert images.shape == (2, 2, height, width)
    assert D(images, c).shape == (2, 1)
    assert C.classify(images, None).shape == (2, 3)


def test_the_discriminator_for_32_pixels_has_the_published_blocks() -> None:
    D = SnganDiscriminator(SnganDiscriminatorConfig(), 10, None, 32, 32, 3)
    shapes = [tuple(D.get_submodule(f"{b}.conv1").weight.shape) for b in D.blocks]  # type: ignore[union-attr, arg-type, call-overload]
    assert D.blocks == ["b32", "b16", "end0", "end1"]
    assert shapes == [(128, 128, 3, 3)] * 4
    features: list[Tensor] = []
    D.get_submodule("end1").register_forward_hook(lambda *call: features.append(call[2]))
    D(torch.randn(2, 3, 32, 32), one_hot(torch.tensor([0, 1]), 10))
    assert features[0].shape == (2, 128, 8, 8)


def test_the_condition_is_projected_onto_summed_features() -> None:
    """Miyato 2018, 1802.05637, eq. 5: another class changes the logit by (v - v')ᵀ φ."""
    D = discriminator()
    features: list[Tensor] = []
    D.get_submodule("end1").register_forward_hook(lambda *call: features.append(call[2]))
    images = torch.randn(4, 3, 16, 16)
    zero, one = (D(images, one_hot(torch.full([4], label), 3)) for label in (0, 1))
    phi = features[0].relu().sum(dim=[2, 3])
    assert D.embed is not None
    v = D.embed.normalised_weight()
    torch.testing.assert_close((one - zero)[:, 0], phi @ (v[:, 1] - v[:, 0]))


@pytest.mark.parametrize("kind", ["scaled", "fourier"])
def test_critics_can_be_told_timesteps(kind: str) -> None:
    """So that SNGAN takes the global noise model as well."""
    config = SMALL_D.model_copy(update={"t_embed": kind})
    D = SnganDiscriminator(config, 3, 1000, 16, 16, 3)
    C = ResNet18(ResNetConfig(embed_dim=16, t_embed=kind), 3, 1000, 16, 16, 3)  # type: ignore[arg-type]
    images, c = torch.randn(2, 3, 16, 16), one_hot(torch.tensor([0, 1]), 3)
    early, late = torch.tensor([3, 3]), torch.tensor([700, 700])
    assert (D(images, c, early) - D(images, c, late)).abs().min() > 1e-5
    assert (C.classify(images, early) - C.classify(images, late)).abs().amax(1).min() > 1e-5


def test_styles_are_latents_beside_conditions_and_classes_mix_linearly() -> None:
    G = generator().eval()
    z = torch.randn(1, 8)
    dog, cat = (one_hot(torch.tensor([label]), 3) for label in (0, 1))
    mixed = G.mapping(z, 0.3 * dog + 0.7 * cat)
    assert (G.num_ws, G.mapping.num_ws, G.mapping.w_dim) == (1, 1, 11)
    torch.testing.assert_close(mixed, 0.3 * G.mapping(z, dog) + 0.7 * G.mapping(z, cat))


def test_the_class_is_seen_once_gains_differ() -> None:
    G = generator().eval()
    with torch.no_grad():
        for module in G.modules():
            if isinstance(module, ConditionalBatchNorm):
                module.gain.copy_(torch.rand_like(module.gain) + 0.5)
    z = torch.randn(1, 8)
    images = [G(z, one_hot(torch.tensor([label]), 3)) for label in range(3)]
    assert min((images[0] - images[i]).abs().mean().item() for i in (1, 2)) > 1e-3
    assert all(image.abs().max() <= 1 for image in images)


@pytest.mark.parametrize("center", [None, torch.full([11], 0.25)])
def test_truncation_shrinks_latents_and_keeps_the_class(center: Tensor | None) -> None:
    mapping = generator().mapping
    z, c = torch.randn(4, 8), one_hot(torch.arange(4) % 3, 3)
    w = mapping(z, c, truncation_psi=0.4, center=center)[:, 0]
    middle = 0.0 if center is None else 0.25
    torch.testing.assert_close(w[:, :8], middle + 0.4 * (z - middle))
    torch.testing.assert_close(w[:, 8:], c)
    torch.testing.assert_close(mapping(z, c, 0.4, truncation_cutoff=0), mapping(z, c))


def test_batch_norm_uses_the_batch_in_training_and_what_has_settled_after() -> None:
    norm = ConditionalBatchNorm(5, 2)
    x = 3 + 2 * torch.randn(64, 5, 4, 4)
    c = one_hot(torch.arange(64) % 2, 2)
    y = norm(x, c)
    torch.testing.assert_close(y.mean(dim=[0, 2, 3]), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(dim=[0, 2, 3]), torch.ones(5), rtol=0.01, atol=0)
    assert norm.running_mean.eq(0).all() and norm.running_var.eq(1).all()  # forgotten
    norm.momentum = 1.0
    norm(x, c)
    norm.eval()
    torch.testing.assert_close(norm(x, c), y, rtol=0.01, atol=1e-3)
    torch.testing.assert_close(norm(x[:1], c[:1]), norm(x, c)[:1])  # alone as in company
    torch.testing.assert_close(norm.running_mean, x.mean(dim=[0, 2, 3]))


def test_gain_and_bias_are_those_of_the_class() -> None:
    norm = ConditionalBatchNorm(2, 3)
    with torch.no_grad():
        norm.gain.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        norm.bias.copy_(torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    norm.eval()
    x = torch.full([2, 2, 1, 1], 1.0)
    c = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])  # the second image mixes two classes
    expected = torch.tensor([[5.0, 7.0], [5.0, 7.0]])
    torch.testing.assert_close(norm(x, c)[:, :, 0, 0], expected, rtol=1e-4, atol=1e-4)


def test_settling_brings_evaluation_to_what_training_computes() -> None:
    G = generator()
    synthesis = G.synthesis
    assert isinstance(synthesis, SnganSynthesis)
    z, c = torch.randn(256, 8), one_hot(torch.arange(256) % 3, 3)
    with torch.no_grad():
        expected = G(z, c)
        before = G.eval()(z, c)
        synthesis.settle(G.mapping(z, c), momentum=1.0)
        after = G(z, c)
    assert not any(module.training for module in synthesis.modules())
    assert (before - expected).abs().mean() > 10 * (after - expected).abs().mean()
    torch.testing.assert_close(after, expected, rtol=0.02, atol=0.01)


def test_the_classifier_sees_each_image_by_itself() -> None:
    C = ResNet18(ResNetConfig(embed_dim=64), 3, 100, 16, 16, 1)
    images, t = torch.randn(4, 1, 16, 16), torch.tensor([1, 2, 3, 4])
    alone = torch.cat([C.classify(images[i : i + 1], t[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(C.classify(images, t), alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(C.embed(images, t).norm(dim=1), torch.ones(4))
    assert C.embed(images, t).shape == (4, 64)


def test_the_classifier_has_the_published_size() -> None:
    """He 2016, table 1: 11.7 million with 1000 classes, 7x7 stem; ours has gains for skips too."""
    C = ResNet18(ResNetConfig(), 1000, None, 224, 224, 3)
    count = sum(parameter.numel() for parameter in C.parameters())
    assert count == 11_689_512


def test_bf16_stays_close_to_fp32() -> None:
    G, D = generator().eval(), discriminator()
    C = ResNet18(ResNetConfig(embed_dim=32), 3, None, 16, 16, 3)
    z, c = torch.randn(4, 8), one_hot(torch.arange(4) % 3, 3)
    images = G(z, c)
    exact = [images, D(images, c), C.encode(images, None)]
    for network in (G, D, C):
        set_precision(network, "bf16", 4)
    rounded = [G(z, c), D(images, c), C.encode(images, None)]
    for ours, theirs in zip(rounded, exact, strict=True):
        assert ours.dtype == torch.float32
        assert not torch.equal(ours, theirs)  # or it was not used
        torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.1 * theirs.abs().max().item())
