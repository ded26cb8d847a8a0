"""What users ask for on the command line, and the configuration it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field

from dnnlib import UserError
from dnnlib.config import naming_options
from training.augment import PRESETS, AdaConfig, DiffAugmentConfig
from training.augment import PresetName as AugmentPreset
from training.config import (
    Adversarial,
    Contrast,
    DataFacts,
    LossConfig,
    OptimizerConfig,
    TrainingConfig,
)
from training.data.dataset import DataConfig, ImageDataset
from training.networks.classifier import ClassifierConfig
from training.networks.discriminator import DiscriminatorConfig
from training.networks.generator import Architecture, GeneratorConfig
from training.networks.grid import resolution_grid
from training.networks.resnet18 import ResNetConfig
from training.networks.sngan_discriminator import SnganDiscriminatorConfig
from training.networks.sngan_generator import SnganGeneratorConfig
from training.noise_options import NoiseOptions, noise_configs
from training.presets import PresetName, preset
from training.run_options import RunOptions, run_config

CPU = torch.device("cpu")


class TrainOptions(RunOptions, NoiseOptions):
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
    betas: tuple[float, float] = (0.0, 0.99)  # of Adam, for G and D
    betas_c: tuple[float, float] = (0.9, 0.99)
    weight_decay_c: float = Field(0.01, ge=0)
    joint_gc: bool = False  # G and C step together
    gamma: float = Field(ge=0, description="Weight of the gradient penalty R1; 0 leaves it out.")
    ema_kimg: float = Field(ge=0)
    ema_rampup: float | None
    pl_weight: float = Field(2.0, ge=0)
    style_mixing: float = Field(0.9, ge=0, le=1)
    # Networks.
    family: Literal["stylegan2", "sngan"] = "stylegan2"
    channel_base: int = Field(ge=1)
    channel_max: int = Field(512, ge=1)
    channel_base_c: int | None = Field(None, ge=1)  # None: as D's
    latent_dim: int = Field(512, ge=1)  # of z and of w
    map_layers: int = Field(2, ge=1)
    map_layers_d: int = Field(8, ge=0)
    map_lr: float = Field(0.01, gt=0)
    mbstd: int = Field(4, ge=0)
    architecture_d: Architecture = "resnet"
    embed_dim: int = Field(512, ge=1)
    conv_clamp: float | None = 256.0
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
    adversarial: Adversarial = Field(
        "softplus", description="Loss of G and D against each other. [softplus]"
    )
    classifier: bool = Field(True, description="Train C and let it guide G. [yes, with classes]")
    lambda_g: float = Field(0.95, description="Adversarial share of G's loss. [0.95]")
    lambda_c: float = Field(0.95, description="Contrastive share of C's loss. [0.95]")
    label_g: float = Field(0.0, description="Weight of C's cross-entropy in G's loss. [0]")
    contrast_g: Contrast = Field(
        "class", description="What attracts in G's contrastive loss: class or instance. [class]"
    )
    contrast_c: Contrast = Field("class", description="The same in C's contrastive loss. [class]")
    temperature: float = Field(0.07, description="Temperature of the contrastive losses. [0.07]")
    freezed: int = Field(
        0, description="First layers of D, shortcuts too, that do not learn (FreezeD). [0]"
    )


def resolve_options(
    cfg: PresetName, given: Mapping[str, Any], width: int, height: int, processes: int = 1
) -> TrainOptions:
    """The preset with what was `given` on top; `auto` makes a larger batch for more `processes`.

    Raises `UserError` naming the option that breaks a rule.
    """
    defaults = preset(cfg, width, height, given.get("batch"), processes, given.get("batch_gpu"))
    with naming_options():
        options = TrainOptions(cfg=cfg, **(defaults | dict(given)))
    if options.batch_gpu is None and options.batch % processes:
        raise UserError(
            f"--gpus {processes}: so many processes cannot share a batch of {options.batch}; use "
            f"a --batch that is a multiple of {processes}, or other --gpus"
        )
    return options


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
        class_counts=tuple(dataset.class_counts.tolist()),
    )


def make_config(
    options: TrainOptions, data: DataConfig, facts: DataFacts, device: torch.device = CPU
) -> TrainingConfig:
    """The configuration that options and data come to, with the arithmetic that suits `device`.

    Raises `UserError` naming the field that breaks a rule.
    """
    resolution_grid(facts.width, facts.height)  # refuses sizes that no network can have
    has_classifier = options.classifier and facts.num_classes > 0
    noise = noise_configs(options, has_classifier)
    with naming_options():
        return TrainingConfig(
            preset=options.cfg,
            data=data,
            facts=facts,
            generator=_generator(options),
            discriminator=_discriminator(options),
            classifier=_classifier(options) if has_classifier else None,
            diffusion_d=noise.d,
            diffusion_c=noise.c,
            horizon_d=noise.horizon_d,
            horizon_c=noise.horizon_c,
            noise_at=options.noise_at,
            augment=_augment(options),
            augment_c=options.aug_c,
            losses=_losses(options),
            optimizer=_optimizer(options),
            batch=options.batch,
            batch_gpu=_micro_batch(options),
            freezed=options.freezed,
            ema_kimg=options.ema_kimg,
            ema_rampup=options.ema_rampup,
            seed=options.seed,
            run=run_config(_with_precision(options), device),
        )


def _micro_batch(options: TrainOptions) -> int:
    """Images at once: as asked for, else about the batch in as many parts as the preset has."""
    if options.batch_gpu is not None:
        return options.batch_gpu
    parts = options.micro_batches
    batch_gpu = max(options.batch // parts, 1)
    if options.batch % batch_gpu:
        raise UserError(
            f"--batch {options.batch}: --cfg {options.cfg} takes it in {parts} parts; use a "
            f"multiple of {parts}, or say with --batch-gpu how many images to take at once"
        )
    return batch_gpu


def _with_precision(options: TrainOptions) -> TrainOptions:
    """16 bits are only for features that are clamped, or where they are asked for."""
    asked = options.precision is not None or options.fp32 or options.allow_tf32
    if asked or (options.family != "sngan" and options.conv_clamp is not None):
        return options
    return options.model_copy(update={"precision": "fp32"})


def _generator(options: TrainOptions) -> GeneratorConfig | SnganGeneratorConfig:
    if options.family == "sngan":
        return SnganGeneratorConfig(
            z_dim=options.latent_dim,
            channel_base=options.channel_base,
            channel_max=options.channel_max,
        )
    return GeneratorConfig(
        z_dim=options.latent_dim,
        w_dim=options.latent_dim,
        map_layers=options.map_layers,
        map_lr=options.map_lr,
        channel_base=options.channel_base,
        channel_max=options.channel_max,
        conv_clamp=options.conv_clamp,
    )


def _discriminator(options: TrainOptions) -> DiscriminatorConfig | SnganDiscriminatorConfig:
    if options.family == "sngan":
        return SnganDiscriminatorConfig(
            channel_base=max(options.channel_base // 2, 1),
            channel_max=max(options.channel_max // 2, 1),
            t_embed=options.t_embed,
        )
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


def _classifier(options: TrainOptions) -> ClassifierConfig | ResNetConfig:
    t_embed = options.t_embed_c or options.t_embed
    if options.family == "sngan":
        return ResNetConfig(embed_dim=options.embed_dim, t_embed=t_embed)
    return ClassifierConfig(
        channel_base=options.channel_base_c or options.channel_base,
        channel_max=options.channel_max,
        architecture=options.architecture_d,
        conv_clamp=options.conv_clamp,
        embed_dim=options.embed_dim,
        t_embed=t_embed,
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
        adversarial=options.adversarial,
        lambda_g=options.lambda_g,
        lambda_c=options.lambda_c,
        label_g=options.label_g,
        contrast_g=options.contrast_g,
        contrast_c=options.contrast_c,
        temperature=options.temperature,
        lambda_local=options.lambda_local,
        local_from=options.local_from,
        r1_gamma=options.gamma,
        pl_weight=options.pl_weight,
        style_mixing=options.style_mixing,
    )


def _optimizer(options: TrainOptions) -> OptimizerConfig:
    lr_c = options.lr / 10 if options.lr_c is None else options.lr_c
    return OptimizerConfig(
        lr_g=options.lr,
        lr_d=options.lr,
        lr_c=lr_c,
        betas=options.betas,
        betas_c=options.betas_c,
        weight_decay_c=options.weight_decay_c,
        lr_local=options.lr_local,
        joint_gc=options.joint_gc,
    )
