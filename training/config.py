"""What is computed: one frozen object that says all there is to know about a training run."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dnnlib import Config
from training.augment.config import AugmentConfig
from training.data.dataset import DataConfig
from training.local_noise import NoiseConfigC, NoiseConfigD
from training.networks.families import (
    AnyClassifierConfig,
    AnyDiscriminatorConfig,
    AnyGeneratorConfig,
)
from training.networks.precision import Precision
from training.networks.trunk import TrunkConfig
from training.schedules import HorizonConfigC, HorizonConfigD


class DataFacts(Config):
    """What the networks need to know of a data set, and what tells it from others."""

    width: int
    height: int
    num_channels: int = Field(ge=1, le=4)
    num_classes: int  # 0: trained without classes
    class_names: tuple[str, ...]
    num_images: int
    digest: str
    class_counts: tuple[Annotated[int, Field(ge=0)], ...] = ()  # images; empty: not known

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.class_counts and len(self.class_counts) != self.num_classes:
            raise ValueError(f"class_counts must be one for each of {self.num_classes} classes")
        if self.class_counts and sum(self.class_counts) != self.num_images:
            raise ValueError(f"class_counts must add up to num_images ({self.num_images})")
        return self


Contrast = Literal["class", "instance"]  # views of images of a class, or of the same image alone
Adversarial = Literal["softplus", "hinge"]
NoisePlace = Literal["images", "features"]
LocalFrom = Literal["fakes", "both"]  # generated images alone, or real ones too


class LossConfig(Config):
    """Weights of the objectives (DuDGAN section 3.3) and of their regularisers."""

    adversarial: Adversarial = "softplus"
    lambda_g: float = Field(0.95, ge=0, le=1)  # adversarial share of G's loss, the rest contrastive
    lambda_c: float = Field(0.95, ge=0, le=1)  # contrastive share of C's loss, the rest labels
    label_g: float = Field(0.0, ge=0)  # weight of C's cross-entropy in G's loss
    contrast_g: Contrast = "class"  # what attracts in G's contrastive loss
    contrast_c: Contrast = "class"  # what attracts in C's
    temperature: float = Field(0.07, gt=0)
    local_from: LocalFrom = "both"  # D's logits that σ_c follow
    lambda_local: float = Field(0.01, ge=0)  # weight of mean(σ_c²), see training.local_noise
    r1_gamma: float = Field(1.0, ge=0)
    r1_interval: int = Field(16, ge=1)
    pl_weight: float = Field(2.0, ge=0)  # path length; 0 leaves it out
    pl_decay: float = Field(0.01, gt=0, le=1)
    pl_interval: int = Field(4, ge=1)
    style_mixing: float = Field(0.9, ge=0, le=1)  # probability that an image has two latents


Beta = Annotated[float, Field(ge=0, lt=1)]  # decay of a running mean a step


class OptimizerConfig(Config):
    """Adam for G, D and the deviations of local noise, AdamW for C."""

    lr_g: float = Field(0.0025, gt=0)
    lr_d: float = Field(0.0025, gt=0)
    lr_c: float = Field(0.00025, gt=0)
    betas: tuple[Beta, Beta] = (0.0, 0.99)
    betas_c: tuple[Beta, Beta] = (0.9, 0.99)
    weight_decay_c: float = Field(0.01, ge=0)
    lr_local: float = Field(0.0025, gt=0)
    betas_local: tuple[Beta, Beta] = (0.9, 0.99)
    joint_gc: bool = False  # G and C step together: the gradient of each is that before both


class RunConfig(Config):
    """How a run is carried out; these may change when it is resumed."""

    kimg: float = Field(25000.0, gt=0)  # length of the run
    tick: float = Field(4.0, gt=0)  # kimg between progress lines
    snap: int = Field(50, ge=1)  # ticks between snapshots
    metrics: tuple[str, ...] = ()
    detector: str = "efficientnet-lite0"  # what turns images into features
    workers: int = Field(2, ge=0)
    keep: int | None = Field(None, ge=1)  # newest network snapshots that stay; None: all
    precision: Precision = "fp32"
    low_resolutions: int = Field(4, ge=0)  # highest resolutions that 16-bit precision is for
    nhwc: bool = False  # channels-last weights and features
    cuda_graphs: bool = False
    cudnn_benchmark: bool = True


class TrainingConfig(Config):
    """A whole training run.

    What D and C see is theirs alone: `diffusion_d` and `diffusion_c` say which noise (None: none),
    `horizon_d` and `horizon_c` how T moves where it is a diffusion's.
    """

    preset: str
    data: DataConfig
    facts: DataFacts
    generator: AnyGeneratorConfig
    discriminator: AnyDiscriminatorConfig
    classifier: AnyClassifierConfig | None
    diffusion_d: NoiseConfigD | None
    diffusion_c: NoiseConfigC | None
    horizon_d: HorizonConfigD
    horizon_c: HorizonConfigC
    noise_at: NoisePlace = "images"  # or the features of the first layer of D and of C
    augment: AugmentConfig | None = None  # of what D sees, before its noise
    augment_c: bool = True  # and of what C sees
    losses: LossConfig
    optimizer: OptimizerConfig
    batch: int = Field(ge=1)
    batch_gpu: int = Field(ge=1)  # images a forward pass; gradients accumulate to `batch`
    freezed: int = Field(0, ge=0)  # first layers of D that stay as they begin (FreezeD, 2002.10964)
    ema_kimg: float = Field(ge=0)  # half-life of G's moving average
    ema_rampup: float | None = Field(ge=0)  # half-life at most this share of the images seen
    seed: int = Field(0, ge=0)
    init_digest: str | None = None  # SHA-256 of the network file that the weights begin from
    run: RunConfig

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch % self.batch_gpu:
            raise ValueError(f"batch must be a multiple of batch_gpu ({self.batch_gpu})")
        if self.discriminator.kind == "stylegan2":
            group = self.discriminator.mbstd_group
            if group > 0 and self.batch_gpu % min(group, self.batch_gpu):
                possible = math.gcd(self.batch, group)
                raise ValueError(
                    f"batch_gpu must be a multiple of {group} or less, as D compares images in "
                    f"groups of {group}; found {self.batch_gpu}, {possible} would do"
                )
        if self.classifier is not None and self.facts.num_classes == 0:
            raise ValueError("a classifier needs a data set with classes")
        return self

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """What some networks cannot do."""
        if self.generator.kind == "sngan" and self.losses.pl_weight > 0:
            raise ValueError("pl_weight must be 0 with SNGAN: its styles are not learnt")
        if self.generator.kind == "sngan" and self.losses.style_mixing > 0:
            raise ValueError("style_mixing must be 0 with SNGAN: it has one style")
        trunks = [c for c in (self.discriminator, self.classifier) if isinstance(c, TrunkConfig)]
        skips = any(trunk.architecture == "skip" for trunk in trunks)
        if self.noise_at == "features" and skips:
            raise ValueError(
                "noise_at must be images with architecture skip, which leads images around features"
            )
        return self
