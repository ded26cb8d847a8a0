"""From what a user typed to a run that trains."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dnnlib import UserError
from dnnlib.logs import logger
from torch_utils.modules import count_parameters
from torch_utils.world import World
from training.artifacts import Evaluate
from training.config import TrainingConfig
from training.data.archive import describe_shape
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.estimate import estimate
from training.loop import TrainingLoop
from training.networks.families import make_discriminator
from training.networks.precision import set_tensor_cores
from training.options import data_facts, make_config, resolve_options
from training.players import Players
from training.presets import PresetName
from training.run_options import RunOptions, changed_run_config
from training.runs import (
    OPTIONS_FILE,
    Run,
    at_work,
    continue_run,
    open_run,
    saved_config,
    share_run,
)
from training.snapshots import NetworkFile, load_network
from training.transfer import transfer

# Prepares the scores of a run; None when none are asked for. Refuses those that do not exist.
MakeEvaluate = Callable[[TrainingConfig, ImageDataset], Evaluate | None]


@dataclass(frozen=True)
class Outcome:
    """How training ended: in which folder, None after a dry run, and by which signal, if any."""

    run_dir: Path | None
    interrupted_by: int | None = None


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


def launch(request: LaunchRequest, world: World, make_evaluate: MakeEvaluate) -> Outcome:
    """Train as asked.

    Raises `UserError` for what was asked wrongly, before anything is written.
    """
    if request.exp_id and not re.fullmatch(r"[\w.+-]{1,100}", request.exp_id):
        raise UserError(
            f"--exp-id {request.exp_id}: becomes part of a folder's name; use up to 100 letters, "
            "digits and '.', '_', '+', '-'"
        )
    config, dataset = _configure(request, world)
    _check_processes(config, world)
    _check_frozen(config)
    source = _source(request)
    if source is not None:
        config = config.model_copy(update={"init_digest": source.digest})
    evaluate = make_evaluate(config, dataset)
    set_tensor_cores(config.run.precision, config.run.cudnn_benchmark)
    if request.dry_run:
        logger.info(config.to_json())
        _announce(config, Players(config), world)
        logger.info(estimate(config, world))
        logger.info(
            "Dry run: all settings are in order, nothing was written; of the data, one "
            "image was looked at (dataset_tool.py --check reads all)"
        )
        return Outcome(None)
    own = _open(request, config, source, world.device) if world.rank == 0 else None
    run = share_run(own, config, world)
    if run.state.progress >= 1 and run.state.scored:
        logger.info(f"{run.path}: finished already; a longer --kimg would continue it")
        return Outcome(run.path)
    with at_work(run) if world.rank == 0 else nullcontext():
        _announce(config, run.state.players, world)
        for note in run.notes:
            logger.info(note)
        if run.is_new:
            dataset.archive.warn_of_unread()
            logger.info(estimate(config, world))
        interrupted_by = TrainingLoop(config, run.state, dataset, run.path, world, evaluate).run()
        if interrupted_by is None:
            logger.info(f"Finished; networks, pictures and scores are in {run.path}")
        else:
            logger.info(f"Checkpoint written; the same command again continues {run.path}")
    return Outcome(run.path, interrupted_by)


def _check_processes(config: TrainingConfig, world: World) -> None:
    """Refuse a number of processes that the micro-batches of a step cannot be dealt out to."""
    parts, batch = config.batch // config.batch_gpu, config.batch
    if parts % world.size == 0:
        return
    enough = math.lcm(parts, world.size)
    cure = f"--batch-gpu {batch // enough}" if batch % enough == 0 else "another --batch"
    raise UserError(
        f"--gpus {world.size}: a batch of {batch} in micro-batches of {config.batch_gpu} is "
        f"{parts} of them, which so many processes cannot share; use {cure}, or a "
        f"divisor of {parts}"
    )


def _check_frozen(config: TrainingConfig) -> None:
    """Refuse to keep more layers of D than there are."""
    if config.freezed == 0:
        return
    facts = config.facts
    shape = (facts.width, facts.height, facts.num_channels)
    with torch.device("meta"):  # its weights do not count
        there = len(make_discriminator(config.discriminator, 0, None, shape).layers())
    if config.freezed > there:
        raise UserError(f"--freezed {config.freezed}: D has {there} such layers; keep fewer")


def _configure(request: LaunchRequest, world: World) -> tuple[TrainingConfig, ImageDataset]:
    only_moved = request.resume is not None and not _fixed_options(request)
    if request.resume is not None and (
        request.data is None or (only_moved and _is_run(request.resume))
    ):
        return _saved(request, Path(request.resume), world)
    if request.data is None:
        raise UserError("--data: name the images to train on, a folder or a zip")
    if any("\ud800" <= letter <= "\udfff" for letter in request.data):
        raise UserError(
            f"--data {request.data}: its name is not UTF-8, as the files of a run are; rename it"
        )
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
    options = resolve_options(cfg, given, facts.width, facts.height, world.size)
    return make_config(options, data, facts, world.device), dataset


def _saved(
    request: LaunchRequest, run_dir: Path, world: World
) -> tuple[TrainingConfig, ImageDataset]:
    """The configuration of a run folder, with what may change when a run goes on.

    That is also the place of its data.
    """
    config = saved_config(run_dir)
    if fixed := _fixed_options(request):
        raise UserError(
            f"--{fixed[0].replace('_', '-')}: a run that is resumed keeps its settings; leave it "
            "out, or start a new run with --data"
        )
    run = changed_run_config(config.run, request.given, world.device)
    data = config.data
    if request.data is not None:
        data = data.model_copy(update={"path": request.data})
    elif not Path(data.path).exists():
        raise UserError(
            f"--resume {run_dir}: its data, {data.path}, is not there; say with --data where it is"
        )
    dataset = open_dataset(data)
    if data_facts(dataset) != config.facts:
        raise UserError(
            f"--resume {run_dir}: {data.path} is not the data it was trained on; restore that, or "
            "start a new run from one of its networks (--resume FILE.safetensors --data --outdir)"
        )
    return config.model_copy(update={"run": run, "data": data}), dataset


def _fixed_options(request: LaunchRequest) -> list[str]:
    """Those given that stay what they are when a run goes on."""
    return sorted(set(request.given) - set(RunOptions.model_fields))


def _is_run(resume: str) -> bool:
    """Whether --resume names a run folder, to be continued, and not a network to start from."""
    return (Path(resume) / OPTIONS_FILE).is_file()


def _source(request: LaunchRequest) -> NetworkFile | None:
    """The network that a new run starts from, if any."""
    if request.resume is None or request.data is None or _is_run(request.resume):
        return None
    return load_network(request.resume, "--resume")


def _open(
    request: LaunchRequest,
    config: TrainingConfig,
    source: NetworkFile | None,
    device: torch.device,
) -> Run:
    """The run to go on with, or a new one that begins with the weights of `source`."""
    if request.resume is not None and _is_run(request.resume):
        return continue_run(config, Path(request.resume), device)
    if request.outdir is None:
        raise UserError("--outdir: name the folder that runs are to be in")
    run = open_run(config, request.outdir, request.exp_id, device)
    if source is None or run.state.step > 0:
        return run
    lines = transfer(run.state.players, source, config.facts)
    notes = [f"Weights   {source.path}", *(f"          {line}" for line in lines)]
    return replace(run, notes=tuple(notes))


def _announce(config: TrainingConfig, players: Players, world: World) -> None:
    """Say what is going to be trained, and warn of snapshots that would replace each other.

    They are numbered by kimg; a run of less than one has a single number anyway.
    """
    logger.info(describe(config, players, world))
    run = config.run
    if run.tick * run.snap < 1 <= run.kimg:
        logger.warning(
            f"--tick {run.tick:g} with --snap {run.snap}: of the snapshots within a kimg the last "
            "alone stays; at least one kimg apart all stay"
        )


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
            f"Device    {_device(config, world)}",
        ]
    )


def _device(config: TrainingConfig, world: World) -> str:
    run = config.run
    parts = [str(world.device) if world.size == 1 else f"{world.size} x {world.device.type}"]
    low = run.precision in ("fp16", "bf16")
    parts.append(f"{run.precision} ({run.low_resolutions} resolutions)" if low else run.precision)
    parts += ["channels-last"] if run.nhwc else []
    parts += ["CUDA graphs"] if run.cuda_graphs else []
    return ", ".join(parts)
