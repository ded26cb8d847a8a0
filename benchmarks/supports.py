"""What D can tell of two distributions that do not meet, without noise and with it.

python -m benchmarks.supports
python -m benchmarks.supports --out supports.png
python -m benchmarks.supports --network
python -m benchmarks.supports --data digits16.zip

Real points are uniform on a segment, generated ones on the same segment moved by d at a right angle
(Arjovsky 2017, 1701.07875, example 1; Diffusion-GAN, 2206.02262, section 3). With the optimal D the
GAN's loss is the Jensen-Shannon divergence: log 2 at every d but 0. Noise at step t makes it
J(d sqrt(SNR_t)), J(u) being that of N(0, 1) and N(u, 1); a mixture's is the mean over t where D is
told t. Quadrature gives all of that. --network trains a small D as well; --data says how far
pictures lie apart, and how much of that the noise of each horizon leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
import torch
from torch import Tensor

from benchmarks.critics import train_critic
from benchmarks.divergences import LOG2, divergence, divergence_untold, sensitivity
from dnnlib import UserError
from dnnlib.cli import CONTEXT, run
from dnnlib.logs import logger, track
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.diffusion import BetaSchedule, DiffusionConfig, TimestepDistribution
from training.pictures import save_image
from training.study.drawing import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    VERMILLION,
    Chart,
    render,
)
from training.study.quantities import alphas_bar, diffusion_at, signal_to_noise, timestep_law

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DISTANCES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
NETWORK_DISTANCES = (0.03, 0.1, 0.3, 1.0, 3.0)
HORIZONS = (10, 100, 300, 1000)
_MAX_IMAGES = 1000


@dataclass(frozen=True)
class View:
    """How D sees points: `law` `[T + 1]` are the probabilities of t = 0..T; drawn as `line`."""

    name: str
    law: Tensor
    color: str
    line: str


class Noise:
    """A forward process over the horizon T, and the views that are compared."""

    def __init__(self, config: DiffusionConfig) -> None:
        self.config, self.horizon = config, config.t_max
        self.alphas_bar = alphas_bar(config, self.horizon)
        self.snr = signal_to_noise(self.alphas_bar, config.noise_sd)
        noisy = config.model_copy(update={"num_clean": 0})
        self.mixture = timestep_law(noisy, self.horizon)
        weak = max(self.horizon // 10, 1)
        self.views = [
            View("no noise", self._only(0), BLACK, "-"),
            View(f"t = {weak} alone", self._only(weak), BLUE, "--"),
            View(f"t = {self.horizon} alone", self._only(self.horizon), GREEN, "-."),
            View(f"mixture of 1..{self.horizon}", self.mixture, VERMILLION, "-"),
            View("half clean, half mixture", timestep_law(config, self.horizon), ORANGE, ":"),
        ]

    def _only(self, timestep: int) -> Tensor:
        return (torch.arange(self.horizon + 1) == timestep).double()


def closed_form(noise: Noise) -> list[str]:
    """The table of divergences by distance, as shares of log 2."""
    distances = torch.tensor(DISTANCES, dtype=torch.float64)
    rows = {view.name: divergence(view.law, noise.snr, distances) for view in noise.views}
    untold = [
        divergence_untold(noise.mixture, noise.alphas_bar, noise.config.noise_sd, d)
        for d in track(DISTANCES, "Mixtures of Gaussians", len(DISTANCES), "distances")
    ]
    rows["mixture, D not told t"] = torch.stack(untold)
    lines = [f"{'JSD / log 2 at distance d':28}" + "".join(f"{d:>8g}" for d in DISTANCES)]
    for name, values in rows.items():
        lines.append(f"{name:28}" + "".join(f"{float(v) / LOG2:>8.3f}" for v in values))
    return lines


def distance_of(view: View, snr: Tensor, share: float) -> float:
    """The distance, 1e-4 to 1e3, at which the divergence is `share` of log 2; `snr` `[T + 1]`."""
    low, high = -4.0, 3.0  # decimal logarithms
    for _ in range(20):
        middle = (low + high) / 2
        value = divergence(view.law, snr, torch.tensor([10**middle]))[0]
        low, high = (middle, high) if value < share * LOG2 else (low, middle)
    return float(10**low)


def reaches(noise: Noise) -> list[str]:
    """Between which distances G hears of how far it is, for each noisy view."""
    lines = [f"{'JSD between 10 and 90 %':28}{'from d':>10}{'to d':>10}{'ratio':>8}"]
    for view in noise.views[1:-1]:
        low, high = (distance_of(view, noise.snr, share) for share in (0.1, 0.9))
        lines.append(f"{view.name:28}{low:>10.3g}{high:>10.3g}{high / low:>8.0f}")
    return lines


def trained(noise: Noise, seed: int) -> list[str]:
    """The same told by a small network, and the gradients that G would have from it."""
    diffusion = diffusion_at(noise.config, noise.horizon)
    header = f"{'trained D':28}{'d':>8}{'JSD/log2':>10}{'exact':>8}{'gradient':>10}"
    lines = [header + f"{'saturating':>12}{'cosine':>8}"]
    cases = [(view, d) for view in noise.views for d in NETWORK_DISTANCES]
    for view, d in track(cases, "Training discriminators", len(cases), "of them"):
        draw = partial(_draw, view.law)
        verdict = train_critic(d, diffusion, draw, seed)
        exact = float(divergence(view.law, noise.snr, torch.tensor([d]))[0])
        lines.append(
            f"{view.name:28}{d:>8g}{verdict.jsd / LOG2:>10.3f}{exact / LOG2:>8.3f}"
            f"{verdict.gradient:>10.3g}{verdict.saturating:>12.2g}{verdict.alignment:>8.3f}"
        )
    return lines


def _draw(law: Tensor, count: int) -> Tensor:
    return torch.multinomial(law, count, replacement=True)


def image_distances(dataset: ImageDataset) -> dict[str, float]:
    """Medians of Euclidean distances between pictures in ±1, by what differs."""
    images = dataset.load_images(1).float() / 127.5 - 1
    flat = images.flatten(1)
    apart = torch.cdist(flat, flat)
    itself = torch.eye(len(flat), dtype=torch.bool)
    same = (dataset.labels[:, None] == dataset.labels) & ~itself
    changes = {
        "one grey level": (2 / 255) * torch.ones_like(images),
        "darker by a tenth": 0.1 * (images + 1),
        "moved by a pixel": images.roll(1, dims=3) - images,
    }
    medians = {name: change.flatten(1).norm(dim=1) for name, change in changes.items()}
    medians["nearest other picture"] = apart.masked_fill(itself, torch.inf).amin(dim=1)
    medians["another of its class"] = apart[same]
    medians["any other picture"] = apart[~itself]
    return {name: float(values.median()) for name, values in medians.items()}


def pictures(config: DiffusionConfig, distances: dict[str, float]) -> list[str]:
    """What the mixture up to each horizon leaves of the distances between pictures."""
    columns = "".join(f"{f'T = {horizon}':>10}" for horizon in HORIZONS)
    lines = [f"{'pictures: JSD / log 2':28}{'d':>8}{columns}"]
    shares = []
    for horizon in HORIZONS:
        noisy = config.model_copy(update={"num_clean": 0, "t_max": horizon})
        snr = signal_to_noise(alphas_bar(noisy, horizon), noisy.noise_sd)
        values = divergence(timestep_law(noisy, horizon), snr, torch.tensor([*distances.values()]))
        shares.append(values / LOG2)
    for row, (name, distance) in enumerate(distances.items()):
        lines.append(f"{name:28}{distance:>8.3g}" + "".join(f"{s[row]:>10.3f}" for s in shares))
    return lines


def draw(noise: Noise) -> Chart:
    """Divergence, and its change with the logarithm of the distance, against the distance."""
    return Chart("supports", 4.2, partial(_draw_curves, noise=noise))


def _draw_curves(figure: Figure, noise: Noise) -> None:
    values, changes = figure.subplots(1, 2)
    distances = torch.logspace(-3.5, 2, 111, dtype=torch.float64)
    for view in noise.views:
        for axes, quantity in ((values, divergence), (changes, sensitivity)):
            shares = quantity(view.law, noise.snr, distances) / LOG2
            axes.plot(distances, shares, view.line, color=view.color, label=view.name)
    values.set(ylabel="JSD / log 2", title="What D can tell at most")
    changes.set(ylabel="d · dJSD/dd / log 2", title="How it changes with log d")
    for axes in (values, changes):
        axes.set(xscale="log", xlabel="distance d of the segments")
    lines, names = values.get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=3)


@click.command(context_settings=CONTEXT)
@click.option(
    "--noise-sd", type=click.FloatRange(0, min_open=True), default=0.05, show_default=True
)
@click.option("--horizon", type=click.IntRange(2, 5000), default=1000, show_default=True)
@click.option("--beta-schedule", type=click.Choice(get_args(BetaSchedule)), default="linear")
@click.option("--ts-dist", type=click.Choice(get_args(TimestepDistribution)), default="priority")
@click.option("--network", is_flag=True, help="Train small discriminators, a minute or two.")
@click.option("--data", help="Pictures whose distances are compared: a folder or a zip.")
@click.option("--out", type=click.Path(path_type=Path), help="Chart to write, .png or .webp.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def main(
    noise_sd: float,
    horizon: int,
    beta_schedule: BetaSchedule,
    ts_dist: TimestepDistribution,
    network: bool,
    data: str | None,
    out: Path | None,
    seed: int,
) -> None:
    """Print what D can tell of two segments at a distance, by the noise that it sees."""
    config = DiffusionConfig(
        noise_sd=noise_sd, t_min=1, t_max=horizon, beta_schedule=beta_schedule, ts_dist=ts_dist
    )
    if out is not None and out.suffix not in (".png", ".webp"):
        raise UserError(f"--out: a .png or .webp file, found {out}")
    noise = Noise(config)
    tables = [closed_form(noise), reaches(noise)]
    if network:
        tables.append(trained(noise, seed))
    if data is not None:
        dataset = open_dataset(DataConfig(path=data, subset=_MAX_IMAGES, seed=seed))
        tables.append(pictures(config, image_distances(dataset)))
    logger.info("\n\n".join("\n".join(table) for table in tables))
    if out is not None:
        save_image(out, render(draw(noise)))
        logger.info(f"\nChart: {out}")


if __name__ == "__main__":
    run(main)
