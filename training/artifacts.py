"""The files of a run: pictures, networks, scores, the training state. The first process writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from torch_utils.checkpoint import save_state
from torch_utils.world import World
from training.config import TrainingConfig
from training.data.dataset import ImageDataset
from training.data.images import Pixels
from training.diversity import diversity, pairwise_distances, warn_of_collapse
from training.networks.generator import Generator
from training.pictures import save_image
from training.report.run_report import RunReport
from training.reporting import Reporter
from training.runs import STATE_FILE
from training.samples import COLUMNS, SampleSheet, draw_noise
from training.snapshots import best_network_name, prune_snapshots, save_network, snapshot_name
from training.state import TrainingState


@dataclass(frozen=True)
class Score:
    """A metric's value at a snapshot."""

    name: str
    value: float
    lower_is_better: bool


# Scores of the averaged generator, taken by all processes together; the first decides which network
# is best. Gets the file that the generator was saved to.
Evaluate = Callable[[Generator, Path, World], list[Score]]


class RunFiles:
    """Writes what a training state has come to into the folder of its run."""

    def __init__(
        self,
        config: TrainingConfig,
        state: TrainingState,
        dataset: ImageDataset,
        run_dir: Path,
        device: torch.device,
    ) -> None:
        self.config, self.state, self.dataset = config, state, dataset
        self.run_dir, self.device = run_dir, device
        self.reporter = Reporter(run_dir, device)
        self.report = RunReport(run_dir, config)
        self.sheet = SampleSheet(state.players.G_ema, dataset, config.seed)

    def first_pictures(self) -> None:
        """What there is to learn, and where learning begins."""
        self._save_picture("reals.png", self.sheet.picture(self.sheet.reals))
        self._save_picture("fakes_init.png", self.sheet.picture(self._fakes()))
        self.report.refresh()

    def snapshot(self) -> None:
        """Pictures and the network; warns when the images of a class become alike."""
        number = f"{self.state.nimg // 1000:06d}"
        fakes = self._fakes()
        self._save_picture(f"fakes{number}.png", self.sheet.picture(fakes))
        self._watch_diversity(fakes)
        noise = draw_noise(self.state.players, self._some_images())
        if noise is not None:
            self._save_picture(f"noise{number}.png", noise)
        self._save_network(self.run_dir / snapshot_name(self.state.nimg))

    def scores(self, scores: Sequence[Score]) -> None:
        """Note the scores of the newest network; keep it where it is the best in one of them."""
        values = {f"Metrics/{score.name}": score.value for score in scores}
        self.reporter.report_values(self.state, values)
        best = self.state.best
        for index, score in enumerate(scores):
            rank = score.value if score.lower_is_better else -score.value
            if math.isfinite(rank) and rank < best.get(score.name, math.inf):
                best[score.name] = rank
                name = best_network_name("" if index == 0 else score.name)
                self._save_network(self.run_dir / name)

    def save_state(self, same_place: bool = False) -> None:
        """The checkpoint, then no more snapshots than asked for, and report.html.

        With `same_place` it takes the place of the last one, where the run has not moved since.
        """
        path = self.run_dir / STATE_FILE
        save_state(path, self.state.state_dict(), keep_previous=not same_place)
        if self.config.run.keep is not None:
            prune_snapshots(self.run_dir, self.config.run.keep)
        self.report.refresh()

    def _save_picture(self, name: str, pixels: Pixels) -> None:
        save_image(self.run_dir / name, pixels)
        self.report.add(self.run_dir / name, pixels)

    def _save_network(self, path: Path) -> None:
        save_network(path, self.state.players, self.config, self.state.nimg)

    def _fakes(self) -> torch.Tensor:
        return self.sheet.fakes(self.state.players.G_ema, self.config.batch_gpu, self.device)

    def _watch_diversity(self, fakes: torch.Tensor) -> None:
        real = pairwise_distances(self.sheet.reals, COLUMNS)
        ratios = diversity(pairwise_distances(fakes, COLUMNS), real)
        self.reporter.report_values(self.state, {"Diversity/mean": float(ratios.nanmean())})
        warn_of_collapse(ratios, self.sheet.class_names)

    def _some_images(self) -> torch.Tensor:
        step = max(len(self.dataset) // 3, 1)
        return torch.stack([self.dataset[i][0] for i in range(0, len(self.dataset), step)][:3])
