"""From what a user asks for to pictures of the dual diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dnnlib import UserError
from dnnlib.logs import logger
from torch_utils.seeding import reseed
from training.config import TrainingConfig
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.options import data_facts, make_config, resolve_options
from training.pictures import save_image
from training.presets import PresetName
from training.schedules import AdaptiveConfig
from training.study.charts import (
    condition_chart,
    horizons_chart,
    schedules_chart,
    timesteps_chart,
)
from training.study.charts_of_runs import path_chart, sees_chart
from training.study.drawing import Chart, render
from training.study.history import History, read_config, read_history
from training.study.quantities import alphas_bar, hidden_distance, signal_to_noise
from training.study.stages import (
    Stage,
    diffusions,
    noisy_networks,
    planned_stages,
    recorded_stages,
)
from training.study.views import noisy_sheet, pick_images

StudyFormat = Literal["png", "webp"]
OVERVIEW = "overview"


@dataclass(frozen=True)
class StudyRequest:
    """A command line.

    `given` are the options that were typed of `TrainOptions`, `cfg` and `cond`; with `run` there
    are none, and `data` stands in for the run's own where that has moved.
    """

    data: str | None
    run: Path | None
    out: Path
    given: dict[str, Any]
    num_images: int = 2
    format: StudyFormat = "png"


def draw_study(request: StudyRequest) -> None:
    """Write a picture of each chart, and one of all, into the folder `request.out`.

    Raises `UserError` for what was asked wrongly, before anything is written.
    """
    history = None if request.run is None else read_history(request.run)
    config, dataset = _configure(request)
    if not noisy_networks(config):
        raise UserError(
            "neither D nor C sees noise with these settings: there is nothing to draw; choose "
            "another --noise-model, --noise-d or --noise-c"
        )
    stages = planned_stages(config) if history is None else recorded_stages(config, history)
    charts = make_charts(config, dataset, stages, history, request.num_images)
    if not charts:
        raise UserError("--noise-at features: there is no picture of local noise in features")
    for line in describe(config, stages):
        logger.info(line)
    pictures = {}
    for chart in charts:
        reseed(config.seed, chart.name)
        pictures[chart.name] = render(chart)
    pictures[OVERVIEW] = np.concatenate(list(pictures.values()))
    for name, pixels in pictures.items():
        save_image(request.out / f"{name}.{request.format}", pixels)
    logger.info(f"{', '.join(pictures)}: {request.out}")


def make_charts(
    config: TrainingConfig,
    dataset: ImageDataset,
    stages: list[Stage],
    history: History | None,
    num_images: int,
) -> list[Chart]:
    """The charts that suit a configuration, and those of a run where it has a history."""
    charts = []
    if config.noise_at == "images":
        images = pick_images(dataset, num_images, config.seed)
        reseed(config.seed, "sees")
        networks = noisy_networks(config)
        charts.append(
            sees_chart(
                {name: noisy_sheet(images, name, stages, config) for name in networks}, stages
            )
        )
    if networks_with_t := diffusions(config):
        charts += [
            horizons_chart(networks_with_t),
            schedules_chart(networks_with_t),
            timesteps_chart(networks_with_t, stages[-1].horizons),
        ]
    if "D" in networks_with_t and config.facts.num_classes > 0:
        charts.append(condition_chart(config.discriminator.t_embed, networks_with_t["D"].t_max))
    if history is not None:
        charts.append(path_chart(history, _target(config)))
    return charts


def describe(config: TrainingConfig, stages: list[Stage]) -> list[str]:
    """The strongest noise of each stage in numbers, a line each."""
    lines = []
    if networks := diffusions(config):
        lines.append(f"{'':14}{'T':>6}{'ᾱ':>10}{'SNR':>12}{'hidden distance':>18}")
    for name, diffusion in networks.items():
        for stage in stages:
            horizon = stage.horizons[name]
            last = alphas_bar(diffusion, horizon)[-1]
            snr = signal_to_noise(last, diffusion.noise_sd)
            lines.append(
                f"{name + ' ' + stage.name:14}{horizon:>6}{float(last):>10.3g}{float(snr):>12.3g}"
                f"{float(hidden_distance(snr)):>18.3g}"
            )
    for stage in stages:
        if stage.local_sd is not None:
            least, most = stage.local_sd
            lines.append(f"{'D ' + stage.name:14}σ of classes {least:.3g} to {most:.3g}")
    return lines


def _target(config: TrainingConfig) -> float | None:
    adaptive = [
        horizon.target
        for name, horizon in (("D", config.horizon_d), ("C", config.horizon_c))
        if isinstance(horizon, AdaptiveConfig) and name in diffusions(config)
    ]
    return adaptive[0] if adaptive else None


def _configure(request: StudyRequest) -> tuple[TrainingConfig, ImageDataset]:
    if request.run is not None:
        config = read_config(request.run)
        data = config.data
        if request.data is not None:
            data = data.model_copy(update={"path": request.data})
        return config, open_dataset(data)
    if request.data is None:
        raise UserError("--data: name a data set, a folder or a zip, or a run with --run")
    given = dict(request.given)
    cfg: PresetName = given.pop("cfg", "auto")
    dataset = open_dataset(DataConfig(path=request.data, use_labels=given.pop("cond", None)))
    facts = data_facts(dataset)
    options = resolve_options(cfg, given, facts.width, facts.height)
    return make_config(options, dataset.config, facts), dataset
