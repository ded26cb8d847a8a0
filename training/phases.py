"""One small class for each row of DuDGAN's algorithm: what one player minimises in its turn.

The order is the paper's: C, G, G's path lengths, D, D's gradient penalty. A regulariser with
interval k runs every k-th step with k times its weight (lazy regularisation, StyleGAN2 section
3.1). Phases of one turn all take their gradients before any of their players moves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
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
    """Some learners' move: `interval` in steps, who they are, the loss they minimise.

    `learners` are names of `Players.learners()`.
    """

    def __init__(
        self,
        name: str,
        learners: Sequence[str],
        players: Players,
        config: LossConfig,
        interval: int = 1,
    ) -> None:
        self.name, self.learners, self.interval = name, tuple(learners), interval
        self.trained = [p for learner in learners for p in players.trained_parameters(learner)]
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
    """λ_C · SupCon of two noisy views + (1 - λ_C) · cross-entropy, on real images alone.

    Where λ_C is 0 one view is enough.
    """

    def loss(self, draw: Draw, stats: Stats) -> Tensor:
        """See `Phase`."""
        players, config = self.players, self.config
        assert players.C is not None
        contrasts = config.lambda_c > 0
        h = players.encode_two_views(draw.images) if contrasts else players.encode(draw.images)
        logits = players.C.head(h)
        labels = draw.labels.repeat(2) if contrasts else draw.labels
        classification = label_loss(logits, labels)
        stats.report("Loss/C/label", classification)
        stats.report("Accuracy/C/real", (logits.argmax(dim=1) == labels).float())
        if not contrasts:
            return classification
        contrastive = contrastive_loss(h, draw.labels, config.contrast_c, config.temperature)
        stats.report("Loss/C/contrastive", contrastive)
        return config.lambda_c * contrastive + (1 - config.lambda_c) * classification


class GeneratorPhase(Phase):
    """λ_G · softplus(-D(x̃)) + (1 - λ_G) · SupCon of two noisy views of x̃.

    With local noise its deviations σ_c move with G: for them alone there are softplus(D(x)) on real
    images, of the weight of the first term, and λ_local · mean(σ_c²).
    """

    def loss(self, draw: Draw, stats: Stats) -> Tensor:
        """See `Phase`."""
        players, config = self.players, self.config
        ws = players.styles(draw.z, draw.fake_labels, config.style_mixing)
        images = players.G.synthesis(ws)
        logits = players.criticise(images, draw.fake_labels)
        loss = generator_loss(logits, config.adversarial)
        stats.report("Loss/G/adversarial", loss)
        stats.report("Signs/fake", logits.sign())
        noise = players.learned_noise
        if noise is not None and config.local_from == "both":
            real_logits = players.criticise(draw.images, draw.labels)
            loss = loss + generator_loss(-real_logits, config.adversarial)
        if players.C is not None:
            loss = config.lambda_g * loss + self._class_losses(images, draw.fake_labels, stats)
        if noise is not None:
            penalty = noise.penalty()
            stats.report("Loss/G/local", penalty)
            loss = loss + config.lambda_local * penalty
        return loss

    def _class_losses(self, images: Tensor, labels: Tensor, stats: Stats) -> Tensor | float:
        """What C thinks of generated images; two views only where they are contrasted."""
        players, config = self.players, self.config
        assert players.C is not None
        contrasts = config.lambda_g < 1
        if not contrasts and config.label_g == 0:
            return 0.0
        h = players.encode_two_views(images) if contrasts else players.encode(images)
        loss: Tensor | float = 0.0
        if contrasts:
            contrastive = contrastive_loss(h, labels, config.contrast_g, config.temperature)
            stats.report("Loss/G/contrastive", contrastive)
            loss = (1 - config.lambda_g) * contrastive
        if config.label_g > 0:
            classification = label_loss(players.C.head(h), labels.repeat(2 if contrasts else 1))
            stats.report("Loss/G/label", classification)
            loss = loss + config.label_g * classification
        return loss


class PathLengthPhase(Phase):
    """Path-length regularisation of G (StyleGAN2 section 3.2), on half the batch."""

    def loss(self, draw: Draw, stats: Stats) -> Tensor:
        """See `Phase`."""
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
        """See `Phase`."""
        players = self.players
        with torch.no_grad():
            ws = players.styles(draw.z, draw.fake_labels, self.config.style_mixing)
            fakes = players.G.synthesis(ws)
        fake_logits = players.criticise(fakes, draw.fake_labels)
        real_logits = players.criticise(draw.images, draw.labels)
        players.observe(real_logits)
        loss = discriminator_loss(fake_logits, real_logits, self.config.adversarial)
        stats.report("Loss/D/adversarial", loss)
        stats.report("Signs/real", real_logits.sign())
        return loss


class GradientPenaltyPhase(Phase):
    """R1 on real images, through the noise."""

    def loss(self, draw: Draw, stats: Stats) -> Tensor:
        """See `Phase`."""
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
        phases.append(ClassifierPhase("C", ["C"], players, config))
    local = [] if players.learned_noise is None else ["local"]
    phases.append(GeneratorPhase("G", ["G", *local], players, config))
    if config.pl_weight > 0:
        phases.append(PathLengthPhase("G_reg", ["G"], players, config, config.pl_interval))
    phases.append(DiscriminatorPhase("D", ["D"], players, config))
    if config.r1_gamma > 0:
        phases.append(GradientPenaltyPhase("D_reg", ["D"], players, config, config.r1_interval))
    return phases


def in_turns(phases: Sequence[Phase], joint_gc: bool) -> list[tuple[Phase, ...]]:
    """Each phase by itself, but with `joint_gc` C and G in one turn."""
    if joint_gc and len(phases) > 1 and (phases[0].name, phases[1].name) == ("C", "G"):
        return [tuple(phases[:2]), *((phase,) for phase in phases[2:])]
    return [(phase,) for phase in phases]
