"""What users ask for on the command line, and the configuration it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from dnnlib import Config, UserError
from dnnlib.config import first_problem
from training.config import DataFacts, LossConfig, OptimizerConfig, RunConfig, TrainingConfig
from training.data.dataset import DataConfig, ImageDataset
from training.diffusion import BetaSchedule, DiffusionConfig, TimestepDistribution
from training.networks.classifier import ClassifierConfig
from training.networks.discriminator import DiscriminatorConfig
from training.networks.generator import Architecture, GeneratorConfig
from training.networks.grid import resolution_grid
from training.networks.timesteps import TimestepEmbeddingKind
from training.presets import PresetName, preset
from training.schedules import AdaptiveConfig, RampConfig


class TrainOptions(Config):
    """The knobs of a run under the names of train.py's options; presets set most of them."""

    cfg: PresetName
    # Length, batch, optimisation.
    kimg: float
    batch: int = Field(ge=1)
    micro_batches: int = Field(1, ge=1)
    batch_gpu: int | None = Field(None, ge=1)  # None: batch / micro_batches
    lr: float = Field(gt=0)
    lr_c: float | None = Field(None, gt=0)  # None: a tenth of lr
    gamma: float
    ema_kimg: float
    ema_rampup: float | None
    pl_weight: float = 2.0
    style_mixing: float = 0.9
    seed: int = Field(0, ge=0)
    # Networks.
    channel_base: int = Field(ge=1)
    channel_max: int = Field(512, ge=1)
    channel_base_c: int | None = Field(None, ge=1)  # None: as D's
    latent_dim: int = Field(512, ge=1)  # of z and of w
    map_layers: int = Field(ge=1)
    map_layers_d: int = Field(8, ge=1)
    mbstd: int = Field(ge=0)
    architecture_d: Architecture = "resnet"
    embed_dim: int = Field(512, ge=1)
    t_embed: TimestepEmbeddingKind = "fourier"
    # Dual diffusion.
    noise_model: Literal["global", "none"] = "global"
    noise_sd: float = 0.05
    noise_sd_c: float | None = None  # None: half of noise_sd
    beta_schedule: BetaSchedule = "linear"
    beta_start: float = 1e-4
    beta_end: float = 2e-2
    t_min: int = 10
    t_max: int = 1000
    t_max_c: int = 300
    ts_dist: TimestepDistribution = "priority"
    target: float = 0.6
    ada_kimg: float = 100.0
    ramp_c: float = 1.0
    # Objectives.
    classifier: bool = True
    lambda_g: float = 0.95
    lambda_c: float = 0.95
    temperature: float = 0.07
    # How the run is carried out.
    tick: float = 4.0  # kimg
    snap: int = 50  # ticks
    metrics: tuple[str, ...] = ()
    workers: int = Field(2, ge=0)


def resolve_options(
    cfg: PresetName, given: Mapping[str, Any], width: int, height: int
) -> TrainOptions:
    """The preset with what was `given` on top.

    Raises `UserError` naming the option that breaks a rule.
    """
    defaults = preset(cfg, width, height, given.get("batch"))
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


def make_config(options: TrainOptions, data: DataConfig, facts: DataFacts) -> TrainingConfig:
    """The configuration that options and data come to.

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
            losses=_losses(options),
            optimizer=_optimizer(options),
            batch=options.batch,
            batch_gpu=batch_gpu,
            ema_kimg=options.ema_kimg,
            ema_rampup=options.ema_rampup,
            seed=options.seed,
            run=RunConfig(
                total_kimg=options.kimg,
                kimg_per_tick=options.tick,
                snapshot_ticks=options.snap,
                metrics=options.metrics,
                workers=options.workers,
            ),
        )
    except ValidationError as error:
        raise UserError(f"--{first_problem(error)}") from None


def _generator(options: TrainOptions) -> GeneratorConfig:
    return GeneratorConfig(
        z_dim=options.latent_dim,
        w_dim=options.latent_dim,
        map_layers=options.map_layers,
        channel_base=options.channel_base,
        channel_max=options.channel_max,
    )


def _discriminator(options: TrainOptions) -> DiscriminatorConfig:
    return DiscriminatorConfig(
        channel_base=options.channel_base,
        channel_max=options.channel_max,
        architecture=options.architecture_d,
        mbstd_group=options.mbstd,
        map_layers=options.map_layers_d,
        t_embed=options.t_embed,
    )


def _classifier(options: TrainOptions) -> ClassifierConfig:
    return ClassifierConfig(
        channel_base=options.channel_base_c or options.channel_base,
        channel_max=options.channel_max,
        architecture=options.architecture_d,
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


def _losses(options: TrainOptions) -> LossConfig:
    return LossConfig(
        lambda_g=options.lambda_g,
        lambda_c=options.lambda_c,
        temperature=options.temperature,
        r1_gamma=options.gamma,
        pl_weight=options.pl_weight,
        style_mixing=options.style_mixing,
    )


def _optimizer(options: TrainOptions) -> OptimizerConfig:
    lr_c = options.lr / 10 if options.lr_c is None else options.lr_c
    return OptimizerConfig(lr_g=options.lr, lr_d=options.lr, lr_c=lr_c)
