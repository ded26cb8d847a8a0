"""From what a user typed to a run that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib import UserError
from dnnlib.logs import log_to_file, logger
from torch_utils.modules import count_parameters
from torch_utils.world import World
from training.config import RunConfig, TrainingConfig
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.loop import Evaluate, TrainingLoop
from training.options import data_facts, make_config, resolve_options
from training.players import Players
from training.presets import PresetName
from training.runs import Run, continue_run, open_run, saved_config

# Prepares the scores of a run; None when none are asked for.
MakeEvaluate = Callable[[TrainingConfig, ImageDataset, Path], Evaluate | None]

RUN_OPTIONS = {"kimg": "total_kimg", "tick": "kimg_per_tick", "snap": "snapshot_ticks"}


@dataclass(frozen=True)
class LaunchRequest:
    """A command line: `given` are the options of `TrainOptions` that were typed."""

    outdir: Path | None
    data: DataConfig | None
    cfg: PresetName
    given: dict[str, Any]
    resume: Path | None
    exp_id: str | None
    dry_run: bool


def launch(request: LaunchRequest, world: World, make_evaluate: MakeEvaluate) -> int | None:
    """Train as asked; the number of the signal that interrupted it, or None.

    Raises `UserError` for what was asked wrongly, before anything is written.
    """
    config, dataset = _configure(request)
    logger.info(describe(config, world))
    if request.dry_run:
        logger.info(config.to_json())
        logger.info("Dry run: everything is in order, nothing was written")
        return None
    run = _open(request, config, world)
    if run.state.progress >= 1:
        logger.info(f"{run.path}: finished already; a longer --kimg would continue it")
        return None
    evaluate = make_evaluate(config, dataset, run.path)
    handler = log_to_file(run.path / "log.txt")
    try:
        interrupted_by = TrainingLoop(config, run.state, dataset, run.path, world, evaluate).run()
    finally:
        logger.removeHandler(handler)
        handler.close()
    if interrupted_by is None:
        logger.info(f"Finished; networks, pictures and scores are in {run.path}")
    else:
        logger.info(f"Checkpoint written; the same command again continues {run.path}")
    return interrupted_by


def _configure(request: LaunchRequest) -> tuple[TrainingConfig, ImageDataset]:
    if request.data is None:
        if request.resume is None:
            raise UserError("--data: name the images to train on, a folder or a zip")
        return _saved(request, request.resume)
    dataset = open_dataset(request.data)
    dataset.check_classes()
    facts = data_facts(dataset)
    options = resolve_options(request.cfg, request.given, facts.width, facts.height)
    return make_config(options, request.data, facts), dataset


def _saved(request: LaunchRequest, run_dir: Path) -> tuple[TrainingConfig, ImageDataset]:
    """The configuration of a run folder, with what may change when a run goes on."""
    config = saved_config(run_dir)
    changes = {RUN_OPTIONS.get(name, name): value for name, value in request.given.items()}
    fixed = sorted(set(changes) - set(RunConfig.model_fields))
    if fixed:
        raise UserError(
            f"--{fixed[0].replace('_', '-')}: a run that is resumed keeps its settings; leave it "
            "out, or start a new run with --data"
        )
    run = RunConfig.model_validate(config.run.model_dump() | changes)
    config = config.model_copy(update={"run": run})
    dataset = open_dataset(config.data)
    if data_facts(dataset) != config.facts:
        raise UserError(
            f"--resume {run_dir}: {config.data.path} is no longer the data it was trained on; "
            "restore it, or start a new run"
        )
    return config, dataset


def _open(request: LaunchRequest, config: TrainingConfig, world: World) -> Run:
    if request.resume is not None:
        return continue_run(config, request.resume, world.device)
    if request.outdir is None:
        raise UserError("--outdir: name the folder that runs are to be in")
    return open_run(config, request.outdir, request.exp_id, world.device)


def describe(config: TrainingConfig, world: World) -> str:
    """What is going to be trained, on what and where, in a few lines."""
    facts = config.facts
    shape = f"{facts.width}x{facts.height}, {facts.num_channels} channels"
    classes = (
        f"{facts.num_classes} classes ({', '.join(facts.class_names[:10])}"
        f"{', ...' if facts.num_classes > 10 else ''})"
        if facts.num_classes
        else "no classes: training is unconditional"
    )
    players = Players(config)
    named = (("G", players.G), ("D", players.D), ("C", players.C))
    sizes = ", ".join(f"{name} {count_parameters(net):,}" for name, net in named if net is not None)
    return "\n".join(
        [
            f"Data      {config.data.path}: {facts.num_images} images, {shape}, {classes}",
            f"Networks  {sizes} parameters",
            f"Training  --cfg {config.preset}, {config.run.total_kimg:g} kimg, batch "
            f"{config.batch} ({config.batch_gpu} at once), R1 γ {config.losses.r1_gamma:.3g}",
            f"Device    {world.device}",
        ]
    )
