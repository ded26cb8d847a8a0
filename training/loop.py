"""From the first image to the last: ticks, snapshots, scores, interruptions."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import torch

from dnnlib import RunError
from dnnlib.logs import Progress, logger
from torch_utils.distributed import agree, barrier, check_equal
from torch_utils.modules import all_finite
from torch_utils.stats import Stats
from torch_utils.world import World
from training.artifacts import Evaluate, RunFiles, Score
from training.config import TrainingConfig
from training.data.dataset import ImageDataset
from training.data.loader import make_loader
from training.runs import STATE_FILE
from training.snapshots import snapshot_name
from training.state import TrainingState
from training.trainer import Trainer

RESIDENT_SHARE = 0.25  # of the device's memory that the data set may take


class _ScoresInterrupted(BaseException):
    """A signal while scores are taken, which can wait: the checkpoint is written."""


class TrainingLoop:
    """Carries a training state to the end of its run, together with other processes if any."""

    def __init__(
        self,
        config: TrainingConfig,
        state: TrainingState,
        dataset: ImageDataset,
        run_dir: Path,
        world: World,
        evaluate: Evaluate | None = None,
    ) -> None:
        self.config, self.state, self.run_dir = config, state, run_dir
        self.world, self.evaluate = world, evaluate
        self.stats = Stats(world)
        data = make_loader(
            dataset,
            config.batch // world.size,
            config.seed,
            state.nimg,
            world.device,
            config.run.workers,
            world.rank,
            world.size,
            resident_limit_bytes=_resident_limit(world.device),
        )
        self.trainer = Trainer(config, state, data, dataset.labels, world, self.stats)
        self.files: RunFiles | None = None
        if world.rank == 0:
            self.files = RunFiles(config, state, dataset, run_dir, world.device)
        self.interrupted_by: int | None = None
        self._scoring = False

    def run(self) -> int | None:
        """Train to the end; the number of the signal that ended it before, or None.

        Raises `RunError` when the losses stay non-finite, when memory does not suffice, and when
        the processes no longer agree.
        """
        try:
            if self.state.nimg == 0 and self.files is not None:
                self.files.first_pictures()
            with _signals_noted(self._interrupt):
                self._train()
        except torch.OutOfMemoryError as error:
            raise RunError(self._out_of_memory(error)) from None
        except _ScoresInterrupted:
            logger.info("Interrupted: scores are taken when the run goes on")
        finally:
            if self.files is not None:
                self.files.reporter.close()
        return self.interrupted_by

    def _interrupt(self, number: int) -> None:
        self.interrupted_by = number
        if not self._scoring:
            logger.info("Interrupted: finishing the step and writing a checkpoint")
        elif self.world.size == 1:
            raise _ScoresInterrupted
        else:  # the other processes may be waiting for this one
            logger.info("Interrupted: the checkpoint is written, finishing the scores")

    def _train(self) -> None:
        state, run = self.state, self.config.run
        total, per_tick = run.kimg * 1000, run.tick * 1000
        tick = math.floor(state.nimg / per_tick)
        saved_at = state.nimg
        shown = self.world.rank == 0
        if not state.scored:
            self._snapshot()  # again, for the scores that an interruption has cost
        with (
            Progress("Training", run.kimg, "kimg", state.nimg / 1000) if shown else nullcontext()
        ) as bar:
            tick_started, tick_nimg = time.monotonic(), state.nimg
            while state.nimg < total and not self._stop():
                self.trainer.step()
                if bar is not None:
                    bar.update(self.config.batch / 1000)
                finished = state.nimg >= total
                if state.nimg < (tick + 1) * per_tick and not finished:
                    continue
                tick += 1
                stats = self.stats.collect()  # waits for the device, so that the time is true
                seconds = time.monotonic() - tick_started
                state.seconds += seconds
                note = self._tick(stats, seconds / (state.nimg - tick_nimg) * 1000)
                if bar is not None:
                    bar.update(0, note)
                if tick % run.snap == 0 or finished:
                    self._snapshot()
                    saved_at = state.nimg
                tick_started, tick_nimg = time.monotonic(), state.nimg
        if saved_at != state.nimg:
            self._check_finite([])
            if self.files is not None:
                self.files.save_state()

    def _stop(self) -> bool:
        """Whether any process was told to end; all learn it before the same step."""
        stop = agree(self.interrupted_by is not None, self.world)
        if stop and self.interrupted_by is None:
            self.interrupted_by = signal.SIGTERM
        return stop

    def _tick(self, stats: dict[str, tuple[float, float]], seconds_per_kimg: float) -> str:
        """Report what happened since the last tick, and make sure that it is finite."""
        note = ""
        if self.files is not None:
            note = self.files.reporter.report(self.state, stats, seconds_per_kimg)
        self._check_finite([mean for name, (mean, _) in stats.items() if name.startswith("Loss/")])
        return note

    def _check_finite(self, losses: Sequence[float]) -> None:
        """End the run before what is no longer finite overwrites the last good checkpoint."""
        if all(map(math.isfinite, losses)) and all_finite(self.state.players):
            return
        there = (self.run_dir / STATE_FILE).is_file()
        raise RunError(
            f"losses or weights are no longer finite at kimg {self.state.nimg / 1000:.1f}; "
            f"{'the last good' if there else 'no'} checkpoint is in {self.run_dir}: start "
            "again with a lower --lr or a higher --gamma"
        )

    def _snapshot(self) -> None:
        check_equal(self.state.players.state_dict(), self.world)
        self.state.scored = self.evaluate is None
        if self.files is not None:
            self.files.snapshot()
            self.files.save_state()  # scores may take longer than an interruption leaves them
        if self.evaluate is not None:
            scores = self._scores(self.evaluate)
            self.state.scored = True
            if self.files is not None:
                self.files.scores(scores)
                self.files.save_state(same_place=True)
        barrier(self.world)

    def _scores(self, evaluate: Evaluate) -> list[Score]:
        barrier(self.world)  # the network is written
        network = self.run_dir / snapshot_name(self.state.nimg)
        self._scoring = True
        try:
            return evaluate(self.state.players.G_ema, network, self.world)
        except Exception as error:  # a score that fails must never end a training run
            logger.warning(
                f"the metrics failed ({type(error).__name__}: {error}); training goes on"
            )
            return []
        finally:
            self._scoring = False

    def _out_of_memory(self, error: torch.OutOfMemoryError) -> str:
        batch, precision = self.config.batch_gpu, self.config.run.precision
        advice = [f"a smaller --batch-gpu than {batch}"] if batch > 1 else []
        advice += ["--precision bf16"] if precision in ("fp32", "tf32") else []
        advice += ["--cuda-graphs no"] if self.config.run.cuda_graphs else []
        advice += ["a lower --resolution of the data set"]
        reason = str(error).split(". ")[0]
        return f"out of memory on {self.world.device} ({reason}); try {', or '.join(advice)}"


def _resident_limit(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory * RESIDENT_SHARE)
    return 2**31


@contextmanager
def _signals_noted(note: Callable[[int], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `note` once; a second one ends the process as usual."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        note(number)

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
