"""What users ask for on the command line, and the configuration it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError

from dnnlib import UserError
from dnnlib.config import first_problem
from training.augment import PRESETS, AdaConfig, DiffAugmentConfig
from training.augment import PresetName as AugmentPreset
from training.config import (
    Contrast,
    DataFacts,
    LossConfig,
    OptimizerConfig,
    TrainingConfig,
)
from training.data.dataset import DataConfig, ImageDataset
from training.diffusion import BetaSchedule, DiffusionConfig, TimestepDistribution
from training.networks.classifier import ClassifierConfig
from training.networks.discriminator import DiscriminatorConfig
from training.networks.generator import Architecture, GeneratorConfig
from training.networks.grid import resolution_grid
from training.networks.timesteps import TimestepEmbeddingKind
from training.presets import PresetName, preset
from training.run_options import RunOptions, run_config
from training.schedules import AdaptiveConfig, RampConfig

CPU = torch.device("cpu")


class TrainOptions(RunOptions):
    """The knobs of a run under the names of train.py's options; presets set most of them."""

    cfg: PresetName
    seed: int = Field(0, ge=0, description="Seed of all randomness. [0]")
    # Batch, optimisation.
    batch: int = Field(ge=1, description="Images a step.")
    micro_batches: int = Field(1, ge=1)
    batch_gpu: int | None = Field(
        None, ge=1, description="Images at once; gradients accumulate to a batch. [by --cfg]"
    )
    lr: float = Field(gt=0, description="Learning rate of G and D.")
    lr_c: float | None = Field(None, gt=0, description="Learning rate of C. [a tenth of --lr]")
    gamma: float = Field(ge=0, description="Weight of the gradient penalty R1; 0 leaves it out.")
    ema_kimg: float = Field(ge=0)
    ema_rampup: float | None
    pl_weight: float = Field(2.0, ge=0)
    style_mixing: float = Field(0.9, ge=0, le=1)
    # Networks.
    channel_base: int = Field(ge=1)
    channel_max: int = Field(512, ge=1)
    channel_base_c: int | None = Field(None, ge=1)  # None: as D's
    latent_dim: int = Field(512, ge=1)  # of z and of w
    map_layers: int = Field(ge=1)
    map_layers_d: int = Field(8, ge=0)
    map_lr: float = Field(0.01, gt=0)
    mbstd: int = Field(ge=0)
    architecture_d: Architecture = "resnet"
    embed_dim: int = Field(512, ge=1)
    conv_clamp: float | None = 256.0
    t_embed: TimestepEmbeddingKind = Field(
        "fourier", description="How D and C are told the timestep. [fourier]"
    )
    # Dual diffusion.
    noise_model: Literal["global", "none"] = Field(
        "global", description="Noise that D and C see. [global]"
    )
    noise_sd: float = Field(0.05, ge=0, description="σ of D's noise, images being ±1. [0.05]")
    noise_sd_c: float | None = Field(None, ge=0, description="σ of C's noise. [half of --noise-sd]")
    beta_schedule: BetaSchedule = Field("linear", description="How β grows with t. [linear]")
    beta_start: float = Field(1e-4, description="First β. [0.0001]")
    beta_end: float = Field(2e-2, description="Last β. [0.02]")
    t_min: int = Field(10, description="First horizon T of D and of C. [10]")
    t_max: int = Field(1000, description="Last horizon T of D. [1000]")
    t_max_c: int = Field(300, description="Last horizon T of C. [300]")
    ts_dist: TimestepDistribution = Field(
        "priority", description="Timesteps in proportion to t, or uniform. [priority]"
    )
    target: float = Field(
        0.6, description="Mean sign of D(real) that D's T and ADA's p are steered to. [0.6]"
    )
    ada_kimg: float = Field(100.0, description="kimg in which D's T can cross its range. [100]")
    ramp_c: float = Field(1.0, description="Share of C's range at the end of the run. [1]")
    # Augmentation.
    aug: Literal["no", "ada", "diff"] = Field(
        "no", description="Augmentation of what D and C see: adaptive, or DiffAugment. [no]"
    )
    augpipe: AugmentPreset = Field("bgc", description="Transforms of --aug ada. [bgc]")
    ada_maxp: float = Field(
        0.8, ge=0, le=1, description="Largest probability p of --aug ada. [0.8]"
    )
    aug_kimg: float = Field(
        500.0, gt=0, description="kimg in which ADA's p can go from 0 to 1. [500]"
    )
    aug_c: bool = Field(True, description="Augment what C sees, too. [yes]")
    # Objectives.
    classifier: bool = Field(True, description="Train C and let it guide G. [yes, with classes]")
    lambda_g: float = Field(0.95, description="Adversarial share of G's loss. [0.95]")
    lambda_c: float = Field(0.95, description="Contrastive share of C's loss. [0.95]")
    label_g: float = Field(0.0, description="Weight of C's cross-entropy in G's loss. [0]")
    contrast_g: Contrast = Field(
        "class", description="What attracts in G's contrastive loss: class or instance. [class]"
    )
    contrast_c: Contrast = Field("class", description="The same in C's contrastive loss. [class]")
    temperature: float = Field(0.07, description="Temperature of the contrastive losses. [0.07]")
    freezed: int = Field(0, description="First layers of D that do not learn (FreezeD). [0]")


def resolve_options(
    cfg: PresetName, given: Mapping[str, Any], width: int, height: int, processes: int = 1
) -> TrainOptions:
    """The preset with what was `given` on top; `auto` makes a larger batch for more `processes`.

    Raises `UserError` naming the option that breaks a rule.
    """
    defaults = preset(cfg, width, height, given.get("batch"), processes)
    try:
        return TrainOptions(cfg=cfg, **(defaults | dict(given)))
    except ValidationError as error:
        raise UserError(f"--{first_problem(error)}") from None


def data_facts(dataset: ImageDataset) -> DataFacts:
    """What the networks need to know of `dataset`."""
    return DataFacts(
        width=dataset.width,
        height=dataset.height,
        num_channels=dataset.num_channels,
        num_classes=dataset.num_classes,
        class_names=tuple(dataset.class_names),
        num_images=len(dataset),
        digest=dataset.digest,
    )


def make_config(
    options: TrainOptions, data: DataConfig, facts: DataFacts, device: torch.device = CPU
) -> TrainingConfig:
    """The configuration that options and data come to, with the arithmetic that suits `device`.

    Raises `UserError` naming the field that breaks a rule.
    """
    resolution_grid(facts.width, facts.height)  # refuses sizes that no network can have
    batch_gpu = options.batch_gpu or max(options.batch // options.micro_batches, 1)
    has_classifier = options.classifier and facts.num_classes > 0
    has_noise = options.noise_model != "none"
    noise_sd_c = options.noise_sd / 2 if options.noise_sd_c is None else options.noise_sd_c
    try:
        return TrainingConfig(
            preset=options.cfg,
            data=data,
            facts=facts,
            generator=_generator(options),
            discriminator=_discriminator(options),
            classifier=_classifier(options) if has_classifier else None,
            diffusion_d=_diffusion(options, options.noise_sd, options.t_max) if has_noise else None,
            diffusion_c=(
                _diffusion(options, noise_sd_c, options.t_max_c)
                if has_noise and has_classifier
                else None
            ),
            horizon_d=AdaptiveConfig(target=options.target, ada_kimg=options.ada_kimg),
            horizon_c=RampConfig(end=options.ramp_c),
            augment=_augment(options),
            augment_c=options.aug_c,
            losses=_losses(options),
            optimizer=_optimizer(options),
            batch=options.batch,
            batch_gpu=batch_gpu,
            freezed=options.freezed,
            ema_kimg=options.ema_kimg,
            ema_rampup=options.ema_rampup,
            seed=options.seed,
            run=run_config(options, device),
        )
    except ValidationError as error:
        raise UserError(f"--{first_problem(error)}") from None


def _generator(options: TrainOptions) -> GeneratorConfig:
    return GeneratorConfig(
        z_dim=options.latent_dim,
        w_dim=options.latent_dim,
        map_layers=options.map_layers,
        map_lr=options.map_lr,
        channel_base=options.channel_base,
        channel_max=options.channel_max,
        conv_clamp=options.conv_clamp,
    )


def _discriminator(options: TrainOptions) -> DiscriminatorConfig:
    return DiscriminatorConfig(
        channel_base=options.channel_base,
        channel_max=options.channel_max,
        architecture=options.architecture_d,
        conv_clamp=options.conv_clamp,
        mbstd_group=options.mbstd,
        map_layers=options.map_layers_d,
        map_lr=options.map_lr,
        t_embed=options.t_embed,
    )


def _classifier(options: TrainOptions) -> ClassifierConfig:
    return ClassifierConfig(
        channel_base=options.channel_base_c or options.channel_base,
        channel_max=options.channel_max,
        architecture=options.architecture_d,
        conv_clamp=options.conv_clamp,
        embed_dim=options.embed_dim,
        t_embed=options.t_embed,
    )


def _diffusion(options: TrainOptions, noise_sd: float, t_max: int) -> DiffusionConfig:
    return DiffusionConfig(
        noise_sd=noise_sd,
        t_min=options.t_min,
        t_max=t_max,
        beta_schedule=options.beta_schedule,
        beta_start=options.beta_start,
        beta_end=options.beta_end,
        ts_dist=options.ts_dist,
    )


def _augment(options: TrainOptions) -> AdaConfig | DiffAugmentConfig | None:
    if options.aug == "ada":
        return AdaConfig(
            strengths=PRESETS[options.augpipe],
            target=options.target,
            ada_kimg=options.aug_kimg,
            max_p=options.ada_maxp,
        )
    return DiffAugmentConfig() if options.aug == "diff" else None


def _losses(options: TrainOptions) -> LossConfig:
    return LossConfig(
        lambda_g=options.lambda_g,
        lambda_c=options.lambda_c,
        label_g=options.label_g,
        contrast_g=options.contrast_g,
        contrast_c=options.contrast_c,
        temperature=options.temperature,
        r1_gamma=options.gamma,
        pl_weight=options.pl_weight,
        style_mixing=options.style_mixing,
    )


def _optimizer(options: TrainOptions) -> OptimizerConfig:
    lr_c = options.lr / 10 if options.lr_c is None else options.lr_c
    return OptimizerConfig(lr_g=options.lr, lr_d=options.lr, lr_c=lr_c)
