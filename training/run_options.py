"""Options that say how a run is carried out: they may change when it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field, field_validator

from dnnlib import Config, UserError
from dnnlib.config import naming_options
from dnnlib.logs import logger
from training.config import RunConfig
from training.networks.precision import Precision, check_precision, default_precision

_ARITHMETIC = ("precision", "fp32", "allow_tf32")


class RunOptions(Config):
    """The knobs of `training.config.RunConfig` under the names of train.py's options."""

    kimg: float = Field(gt=0, description="Length of the run in thousand images.")
    tick: float = Field(4.0, description="kimg between progress lines.")
    snap: int = Field(50, description="Ticks between snapshots.")
    metrics: tuple[str, ...] = Field(
        (), description="Scores at each snapshot, such as fid5k_full,pr5k3_full. [none]"
    )
    detector: str = Field(
        "efficientnet-lite0",
        description="Features of the scores, as calc_metrics.py takes it. [efficientnet-lite0]",
    )
    workers: int = Field(2, description="Threads or processes that read images. [2]")
    keep: int | None = Field(
        None, description="Newest network snapshots to keep, beside the best. [all]"
    )
    precision: Precision | None = Field(
        None,
        description="Arithmetic of the highest resolutions. [fp16 on CUDA with clamped features, "
        "else fp32]",
    )
    low_resolutions: int = Field(
        4, description="How many of the highest resolutions fp16 and bf16 are for. [4]"
    )
    fp32: bool = Field(False, description="The same as --precision fp32.")
    allow_tf32: bool = Field(False, description="The same as --precision tf32.")
    nhwc: bool | None = Field(None, description="Channels-last. [with 16 bits, and on a CPU]")
    cuda_graphs: bool | None = Field(
        None, description="Replay each phase as a CUDA graph. [yes on CUDA]"
    )
    nobench: bool = Field(False, description="Do not let cuDNN try its algorithms out. [no]")

    @field_validator("metrics", mode="before")
    @classmethod
    def _none(cls, names: Sequence[str]) -> Sequence[str]:
        return () if list(names) == ["none"] else names


def run_config(options: RunOptions, device: torch.device) -> RunConfig:
    """How a run is carried out on `device`.

    Raises `UserError` for what the device does not have.
    """
    asked: dict[Precision | None, bool] = {
        "fp32": options.fp32,
        "tf32": options.allow_tf32,
        options.precision: True,
    }
    precisions = [name for name, wanted in asked.items() if wanted and name is not None]
    if len(precisions) > 1:
        raise UserError(f"--precision: one at a time, found {' and '.join(precisions)}")
    precision = (precisions or [default_precision(device)])[0]
    check_precision(precision, device)
    on_cuda = device.type == "cuda"
    if options.cuda_graphs and not on_cuda:
        raise UserError(f"--cuda-graphs: only CUDA devices have them, found {device.type}")
    low = precision in ("fp16", "bf16")
    return RunConfig(
        kimg=options.kimg,
        tick=options.tick,
        snap=options.snap,
        metrics=options.metrics,
        detector=options.detector,
        workers=options.workers,
        keep=options.keep,
        precision=precision,
        low_resolutions=options.low_resolutions,
        nhwc=options.nhwc if options.nhwc is not None else low or not on_cuda,
        cuda_graphs=on_cuda if options.cuda_graphs is None else options.cuda_graphs,
        cudnn_benchmark=not options.nobench,
    )


def changed_run_config(
    saved: RunConfig, given: Mapping[str, Any], device: torch.device
) -> RunConfig:
    """How a run goes on: as it was `saved`, but for what was `given`.

    Raises `UserError` naming the option that breaks a rule.
    """
    before = saved.model_dump(exclude={"cuda_graphs", "cudnn_benchmark"})
    before |= {"nobench": not saved.cudnn_benchmark}
    if device.type == "cuda":
        before |= {"cuda_graphs": saved.cuda_graphs}
        if not saved.cuda_graphs and "cuda_graphs" not in given:
            logger.info("CUDA graphs stay off, as the run was saved; --cuda-graphs yes has them")
    if any(given.get(name) for name in _ARITHMETIC):
        del before["precision"]
    with naming_options():
        return run_config(RunOptions.model_validate(before | dict(given)), device)
