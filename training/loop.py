"""From the first image to the last: ticks, pictures, snapshots, scores, interruptions."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from dnnlib import RunError
from dnnlib.logs import Progress, logger
from torch_utils.checkpoint import save_state
from torch_utils.modules import all_finite
from torch_utils.stats import Stats
from torch_utils.world import World
from training.config import TrainingConfig
from training.data.dataset import ImageDataset
from training.data.loader import make_loader
from training.diversity import diversity, pairwise_distances, warn_of_collapse
from training.networks.generator import Generator
from training.pictures import save_image
from training.reporting import Reporter
from training.runs import STATE_FILE
from training.samples import COLUMNS, SampleSheet, draw_noise
from training.snapshots import BEST_NETWORK, save_network, snapshot_name
from training.state import TrainingState
from training.trainer import Trainer


@dataclass(frozen=True)
class Score:
    """A metric's value at a snapshot."""

    name: str
    value: float
    lower_is_better: bool


# Scores of the averaged generator, the first decides which network is best. Gets the file that
# the generator was saved to.
Evaluate = Callable[[Generator, Path], list[Score]]
RESIDENT_SHARE = 0.25  # of the device's memory that the data set may take


class TrainingLoop:
    """Carries a training state to the end of its run and writes the run's files."""

    def __init__(
        self,
        config: TrainingConfig,
        state: TrainingState,
        dataset: ImageDataset,
        run_dir: Path,
        world: World,
        evaluate: Evaluate | None = None,
    ) -> None:
        self.config, self.state, self.dataset = config, state, dataset
        self.run_dir, self.world, self.evaluate = run_dir, world, evaluate
        self.stats = Stats(world.device)
        data = make_loader(
            dataset,
            config.batch,
            config.seed,
            state.nimg,
            world.device,
            config.run.workers,
            resident_limit_bytes=_resident_limit(world.device),
        )
        self.trainer = Trainer(config, state, data, dataset.labels, world, self.stats)
        self.reporter = Reporter(run_dir, world.device)
        self.sheet = SampleSheet(state.players.G_ema, dataset, config.seed)
        self.interrupted_by: int | None = None

    def run(self) -> int | None:
        """Train to the end; the number of the signal that ended it before, or None.

        Raises `RunError` when the losses stay non-finite.
        """
        try:
            if self.state.nimg == 0:
                self._first_pictures()
            with _signals_noted(self._interrupt):
                self._train()
        finally:
            self.reporter.close()
        return self.interrupted_by

    def _interrupt(self, number: int) -> None:
        self.interrupted_by = number
        logger.info("Interrupted: finishing the step and writing a checkpoint")

    def _train(self) -> None:
        state, run = self.state, self.config.run
        total, per_tick = run.kimg * 1000, run.tick * 1000
        tick = math.floor(state.nimg / per_tick)
        saved_at = state.nimg
        with Progress("Training", run.kimg, "kimg", state.nimg / 1000) as bar:
            tick_started, tick_nimg = time.monotonic(), state.nimg
            while state.nimg < total and self.interrupted_by is None:
                self.trainer.step()
                bar.update(self.config.batch / 1000)
                finished = state.nimg >= total
                if state.nimg < (tick + 1) * per_tick and not finished:
                    continue
                tick += 1
                seconds = time.monotonic() - tick_started
                state.seconds += seconds
                self._tick(seconds / (state.nimg - tick_nimg) * 1000)
                if tick % run.snap == 0 or finished:
                    self._snapshot()
                    saved_at = state.nimg
                tick_started, tick_nimg = time.monotonic(), state.nimg
        if saved_at != state.nimg:
            self._save_state()

    def _tick(self, seconds_per_kimg: float) -> None:
        stats = self.stats.collect()
        self.reporter.report(self.state, stats, seconds_per_kimg)
        losses = [mean for name, (mean, _) in stats.items() if name.startswith("Loss/")]
        if not (all(map(math.isfinite, losses)) and all_finite(self.state.players)):
            raise RunError(
                f"losses or weights are no longer finite at kimg {self.state.nimg / 1000:.1f}; the "
                f"last good checkpoint is in {self.run_dir}: start again with a lower --lr or a "
                "higher --gamma"
            )

    def _first_pictures(self) -> None:
        save_image(self.run_dir / "reals.png", self.sheet.picture(self.sheet.reals))
        save_image(self.run_dir / "fakes_init.png", self.sheet.picture(self._fakes()))

    def _snapshot(self) -> None:
        state, number = self.state, f"{self.state.nimg // 1000:06d}"
        fakes = self._fakes()
        save_image(self.run_dir / f"fakes{number}.png", self.sheet.picture(fakes))
        self._watch_diversity(fakes)
        noise = draw_noise(state.players, self._some_images())
        if noise is not None:
            save_image(self.run_dir / f"noise{number}.png", noise)
        network = self.run_dir / snapshot_name(state.nimg)
        save_network(network, state.players, self.config, state.nimg)
        if self.evaluate is not None:
            self._score(network, self.evaluate)
        self._save_state()

    def _score(self, network: Path, evaluate: Evaluate) -> None:
        try:
            scores = evaluate(self.state.players.G_ema, network)
        except Exception as error:  # a score that fails must never end a training run
            logger.warning(
                f"the metrics failed ({type(error).__name__}: {error}); training goes on"
            )
            return
        if not scores:
            return
        values = {f"Metrics/{score.name}": score.value for score in scores}
        self.reporter.report_values(self.state, values)
        first = scores[0]
        rank = first.value if first.lower_is_better else -first.value
        if math.isfinite(rank) and (self.state.best is None or rank < self.state.best):
            self.state.best = rank
            best = self.run_dir / BEST_NETWORK
            save_network(best, self.state.players, self.config, self.state.nimg)

    def _save_state(self) -> None:
        save_state(self.run_dir / STATE_FILE, self.state.state_dict())

    def _fakes(self) -> torch.Tensor:
        return self.sheet.fakes(self.state.players.G_ema, self.config.batch_gpu, self.world.device)

    def _watch_diversity(self, fakes: torch.Tensor) -> None:
        real = pairwise_distances(self.sheet.reals, COLUMNS)
        ratios = diversity(pairwise_distances(fakes, COLUMNS), real)
        values = {"Diversity/mean": float(ratios.nanmean())}
        self.reporter.report_values(self.state, values)
        warn_of_collapse(ratios, self.sheet.class_names)

    def _some_images(self) -> torch.Tensor:
        step = max(len(self.dataset) // 3, 1)
        return torch.stack([self.dataset[i][0] for i in range(0, len(self.dataset), step)][:3])


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
