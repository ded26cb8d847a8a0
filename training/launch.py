"""From what a user typed to a run that trains."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dnnlib import UserError
from dnnlib.config import first_problem
from dnnlib.logs import logged_to_file, logger
from torch_utils.modules import count_parameters
from torch_utils.world import World
from training.config import RunConfig, TrainingConfig
from training.data.archive import describe_shape
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.loop import Evaluate, TrainingLoop
from training.options import data_facts, make_config, resolve_options
from training.players import Players
from training.presets import PresetName
from training.runs import OPTIONS_FILE, Run, continue_run, open_run, saved_config
from training.snapshots import NetworkFile, load_network
from training.transfer import transfer

# Prepares the scores of a run; None when none are asked for. Refuses those that do not exist.
MakeEvaluate = Callable[[TrainingConfig, ImageDataset], Evaluate | None]


@dataclass(frozen=True)
class LaunchRequest:
    """A command line.

    `given` are the options that were typed of `TrainOptions`, `cond`, `mirror` and `subset`.
    """

    outdir: Path | None
    data: str | None
    given: dict[str, Any]
    resume: str | None
    exp_id: str | None
    dry_run: bool


def launch(request: LaunchRequest, world: World, make_evaluate: MakeEvaluate) -> int | None:
    """Train as asked; the number of the signal that interrupted it, or None.

    Raises `UserError` for what was asked wrongly, before anything is written.
    """
    if request.exp_id and not re.fullmatch(r"[\w.+-]{1,100}", request.exp_id):
        raise UserError(
            f"--exp-id {request.exp_id}: becomes part of a folder's name; use up to 100 letters, "
            "digits and '.', '_', '+', '-'"
        )
    config, dataset = _configure(request)
    source = _source(request)
    if source is not None:
        config = config.model_copy(update={"init_digest": source.digest})
    evaluate = make_evaluate(config, dataset)
    if request.dry_run:
        logger.info(describe(config, Players(config), world))
        logger.info(config.to_json())
        logger.info("Dry run: everything is in order, nothing was written")
        return None
    run = _open(request, config, world)
    if run.state.progress >= 1:
        logger.info(f"{run.path}: finished already; a longer --kimg would continue it")
        return None
    with logged_to_file(run.path / "log.txt"):
        logger.info(describe(config, run.state.players, world))
        if source is not None and run.state.step == 0:
            logger.info("\n".join([f"Weights   {source.path}", *_transfer(run, source)]))
        interrupted_by = TrainingLoop(config, run.state, dataset, run.path, world, evaluate).run()
        if interrupted_by is None:
            logger.info(f"Finished; networks, pictures and scores are in {run.path}")
        else:
            logger.info(f"Checkpoint written; the same command again continues {run.path}")
    return interrupted_by


def _configure(request: LaunchRequest) -> tuple[TrainingConfig, ImageDataset]:
    if request.data is None:
        if request.resume is None:
            raise UserError("--data: name the images to train on, a folder or a zip")
        return _saved(request, Path(request.resume))
    given = dict(request.given)
    cfg: PresetName = given.pop("cfg", "auto")
    data = DataConfig(
        path=request.data,
        mirror=given.pop("mirror", False),
        subset=given.pop("subset", None),
        use_labels=given.pop("cond", None),
    )
    dataset = open_dataset(data)
    dataset.check_classes()
    facts = data_facts(dataset)
    options = resolve_options(cfg, given, facts.width, facts.height)
    return make_config(options, data, facts), dataset


def _saved(request: LaunchRequest, run_dir: Path) -> tuple[TrainingConfig, ImageDataset]:
    """The configuration of a run folder, with what may change when a run goes on."""
    config = saved_config(run_dir)
    fixed = sorted(set(request.given) - set(RunConfig.model_fields))
    if fixed:
        raise UserError(
            f"--{fixed[0].replace('_', '-')}: a run that is resumed keeps its settings; leave it "
            "out, or start a new run with --data"
        )
    try:
        run = RunConfig.model_validate(config.run.model_dump() | request.given)
    except ValidationError as error:
        raise UserError(f"--{first_problem(error)}") from None
    config = config.model_copy(update={"run": run})
    dataset = open_dataset(config.data)
    if data_facts(dataset) != config.facts:
        raise UserError(
            f"--resume {run_dir}: {config.data.path} is no longer the data it was trained on; "
            "restore it, or start a new run"
        )
    return config, dataset


def _is_run(resume: str) -> bool:
    """Whether --resume names a run folder, to be continued, and not a network to start from."""
    return (Path(resume) / OPTIONS_FILE).is_file()


def _source(request: LaunchRequest) -> NetworkFile | None:
    """The network that a new run starts from, if any."""
    if request.resume is None or request.data is None or _is_run(request.resume):
        return None
    return load_network(request.resume, "--resume")


def _transfer(run: Run, source: NetworkFile) -> list[str]:
    lines = transfer(run.state.players, source, run.state.config.facts)
    return [f"          {line}" for line in lines]


def _open(request: LaunchRequest, config: TrainingConfig, world: World) -> Run:
    if request.resume is not None and _is_run(request.resume):
        return continue_run(config, Path(request.resume), world.device)
    if request.outdir is None:
        raise UserError("--outdir: name the folder that runs are to be in")
    return open_run(config, request.outdir, request.exp_id, world.device)


def describe(config: TrainingConfig, players: Players, world: World) -> str:
    """What is going to be trained, on what and where, in a few lines."""
    facts = config.facts
    shape = describe_shape((facts.height, facts.width, facts.num_channels))
    classes = (
        f"{facts.num_classes} classes ({', '.join(facts.class_names[:10])}"
        f"{', ...' if facts.num_classes > 10 else ''})"
        if facts.num_classes
        else "no classes: training is unconditional"
    )
    named = (("G", players.G), ("D", players.D), ("C", players.C))
    sizes = ", ".join(f"{name} {count_parameters(net):,}" for name, net in named if net is not None)
    return "\n".join(
        [
            f"Data      {config.data.path}: {facts.num_images} images, {shape}, {classes}",
            f"Networks  {sizes} parameters",
            f"Training  --cfg {config.preset}, {config.run.kimg:g} kimg, batch "
            f"{config.batch} ({config.batch_gpu} at once), R1 γ {config.losses.r1_gamma:.3g}",
            f"Device    {world.device}",
        ]
    )
