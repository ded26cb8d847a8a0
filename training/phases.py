"""One small class for each row of DuDGAN's algorithm: what one player minimises in its turn.

The order is the paper's: C, G, G's path lengths, D, D's gradient penalty. A regulariser with
interval k runs every k-th step with k times its weight (lazy regularisation, StyleGAN2 section
3.1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_utils.stats import Stats
from training.config import Contrast, LossConfig
from training.objectives import (
    discriminator_loss,
    generator_loss,
    label_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
    supervised_contrastive_loss,
)
from training.players import Players


@dataclass(frozen=True)
class Draw:
    """What a phase works on: real images with labels, latents with labels to generate from.

    `images` float32 `[N, C, H, W]` in ±1, `labels` and `fake_labels` int64 `[N]`, `z` `[N, z_dim]`.
    """

    images: Tensor
    labels: Tensor
    z: Tensor
    fake_labels: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All of it, in the order of the fields."""
        return self.images, self.labels, self.z, self.fake_labels

    def split(self, size: int) -> list[Draw]:
        """Micro-batches of `size` images."""
        parts = [torch.split(tensor, size) for tensor in self.tensors()]
        return [Draw(*part) for part in zip(*parts, strict=True)]


class Phase(ABC):
    """A player's turn: `interval` in steps, the parameters it moves, the loss it minimises."""

    def __init__(
        self, name: str, player: nn.Module, players: Players, config: LossConfig, interval: int = 1
    ) -> None:
        self.name, self.interval = name, interval
        self.trained = players.trained_parameters(player)
        self.players, self.config = players, config

    def wake(self) -> None:
        """Let the loss reach the parameters that this phase moves; all others stay asleep."""
        for parameter in self.trained:
            parameter.requires_grad_(True)

    def sleep(self) -> None:
        """The opposite of `wake`: passes for other players need not compute their gradients."""
        for parameter in self.trained:
            parameter.requires_grad_(False)

    @abstractmethod
    def loss(self, draw: Draw, stats: Stats) -> Tensor:
        """Mean loss over a micro-batch, a scalar; reports what it measures."""


class ClassifierPhase(Phase):
    """λ_C · SupCon of two noisy views + (1 - λ_C) · cross-entropy, on real images alone."""

    def loss(self, draw: Draw, stats: Stats) -> Tensor:
        C = self.players.C
        assert C is not None
        h = self.players.encode_two_views(draw.images)
        logits, labels = C.head(h), draw.labels.repeat(2)
        contrastive = contrastive_loss(
            h, draw.labels, self.config.contrast_c, self.config.temperature
        )
        classification = label_loss(logits, labels)
        stats.report("Loss/C/contrastive", contrastive)
        stats.report("Loss/C/label", classification)
        stats.report("Accuracy/C/real", (logits.argmax(dim=1) == labels).float())
        return self.config.lambda_c * contrastive + (1 - self.config.lambda_c) * classification


class GeneratorPhase(Phase):
    """λ_G · softplus(-D(x̃)) + (1 - λ_G) · SupCon of two noisy views of x̃."""

    def loss(self, draw: Draw, stats: Stats) -> Tensor:
        players, config = self.players, self.config
        ws = players.styles(draw.z, draw.fake_labels, config.style_mixing)
        images = players.G.synthesis(ws)
        logits = players.criticise(images, draw.fake_labels)
        adversarial = generator_loss(logits)
        stats.report("Loss/G/adversarial", adversarial)
        stats.report("Signs/fake", logits.sign())
        if players.C is None or (config.lambda_g == 1 and config.label_g == 0):
            return adversarial
        h = players.encode_two_views(images)
        contrastive = contrastive_loss(h, draw.fake_labels, config.contrast_g, config.temperature)
        stats.report("Loss/G/contrastive", contrastive)
        loss = config.lambda_g * adversarial + (1 - config.lambda_g) * contrastive
        if config.label_g == 0:
            return loss
        classification = label_loss(players.C.head(h), draw.fake_labels.repeat(2))
        stats.report("Loss/G/label", classification)
        return loss + config.label_g * classification


class PathLengthPhase(Phase):
    """Path-length regularisation of G (StyleGAN2 section 3.2), on half the batch."""

    def loss(self, draw: Draw, stats: Stats) -> Tensor:
        players, config = self.players, self.config
        half = max(len(draw.z) // 2, 1)
        ws = players.styles(draw.z[:half], draw.fake_labels[:half], config.style_mixing)
        lengths = path_lengths(players.G.synthesis(ws), ws)
        mean = players.mean_path_length
        mean.lerp_(lengths.detach().mean(), config.pl_decay)
        penalty = path_length_penalty(lengths, mean)
        stats.report("Loss/G/path_length", lengths)
        return penalty * config.pl_weight * self.interval


class DiscriminatorPhase(Phase):
    """softplus(D(x̃)) + softplus(-D(x)), each on D's noisy view."""

    def loss(self, draw: Draw, stats: Stats) -> Tensor:
        players = self.players
        with torch.no_grad():
            ws = players.styles(draw.z, draw.fake_labels, self.config.style_mixing)
            fakes = players.G.synthesis(ws)
        fake_logits = players.criticise(fakes, draw.fake_labels)
        real_logits = players.criticise(draw.images, draw.labels)
        players.observe(real_logits)
        loss = discriminator_loss(fake_logits, real_logits)
        stats.report("Loss/D/adversarial", loss)
        stats.report("Signs/real", real_logits.sign())
        return loss


class GradientPenaltyPhase(Phase):
    """R1 on real images, through the noise."""

    def loss(self, draw: Draw, stats: Stats) -> Tensor:
        images = draw.images.clone().requires_grad_()
        logits = self.players.criticise(images, draw.labels)
        penalty = r1_penalty(logits, images, self.config.r1_gamma)
        stats.report("Loss/D/r1", penalty)
        return penalty * self.interval


def contrastive_loss(h: Tensor, labels: Tensor, contrast: Contrast, temperature: float) -> Tensor:
    """SupCon of features `[2 N, F]`, the second views after the first, of images `[N]`.

    `instance` makes each image a class of its own (SimCLR, 2002.05709): all others repel.
    """
    if contrast == "instance":
        labels = torch.arange(len(labels), device=labels.device)
    views = F.normalize(h, dim=1).reshape(2, len(labels), -1).transpose(0, 1)
    return supervised_contrastive_loss(views, labels, temperature)


def make_phases(players: Players, config: LossConfig) -> list[Phase]:
    """The phases that `players` and the weights call for, in the paper's order."""
    phases: list[Phase] = []
    if players.C is not None:
        phases.append(ClassifierPhase("C", players.C, players, config))
    phases.append(GeneratorPhase("G", players.G, players, config))
    if config.pl_weight > 0:
        phases.append(PathLengthPhase("G_reg", players.G, players, config, config.pl_interval))
    phases.append(DiscriminatorPhase("D", players.D, players, config))
    if config.r1_gamma > 0:
        phases.append(GradientPenaltyPhase("D_reg", players.D, players, config, config.r1_interval))
    return phases
