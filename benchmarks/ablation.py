"""What each part of DuDGAN is worth: the same data, seeds, budget and evaluation for all variants.

python -m benchmarks.ablation --cfg tiny --seeds 0-2
python -m benchmarks.ablation --data emoji9-32.zip --cfg cifar --kimg 2000 --variants all
python -m benchmarks.ablation --page

Trains every variant with every seed through train.py's own loop, scores the last network, and adds
a line to benchmarks/results/ablation-DATA.jsonl. Interrupted, the same command goes on. `--page`
draws the tables of docs/results.md from these files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.ablation_page import draw_page
from benchmarks.digits import RESULTS, prepare_digits
from benchmarks.judge import JudgeDetector, class_spread
from benchmarks.records import device_facts
from benchmarks.variants import MAIN, VARIANTS
from dnnlib import UserError
from dnnlib.cli import CONTEXT, EXIT_SIGNAL, SeedList, run
from dnnlib.json_lines import append_json_line
from dnnlib.logs import logger
from metrics.instruments import load_instruments
from metrics.names import parse_metrics
from metrics.sources import Subject
from metrics.suite import measure
from torch_utils.world import World, choose_device
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.evaluation import DatasetImages, NetworkImages
from training.generation.load import make_synthesizer
from training.generation.synthesis import StyleConfig
from training.launch import LaunchRequest, launch
from training.options import resolve_options
from training.presets import PRESET_NAMES, PresetName
from training.snapshots import NetworkFile, load_network
from training.study.history import read_history

DIGITS = "digits"
SPREAD_SAMPLES = 1000


class Ablation:
    """Trains and scores variants on one data set, on one device."""

    def __init__(
        self, data: str, cfg: PresetName, kimg: float | None, work: Path, device: torch.device
    ) -> None:
        self.name = DIGITS if data == DIGITS else Path(data).stem
        self.work, self.world = work / self.name, World(device)
        self.dataset: ImageDataset
        if data == DIGITS:
            self.dataset = prepare_digits(self.work)
        else:
            self.dataset = open_dataset(DataConfig(path=data))
        self.dataset.check_classes()
        given = {} if kimg is None else {"kimg": kimg}
        options = resolve_options(cfg, given, self.dataset.width, self.dataset.height)
        self.common: dict[str, Any] = {"cfg": cfg, "kimg": options.kimg}
        self.judge = JudgeDetector(self.dataset, device)

    @property
    def results(self) -> Path:
        """Where the records of this data set go."""
        return RESULTS / f"ablation-{self.name}.jsonl"

    def run(self, variant: str, seed: int, count: int) -> int | None:
        """Train, score and record; the number of the signal that interrupted it, or None."""
        options = dict(VARIANTS[variant].options)
        identity = self.common | {
            "variant": variant,
            "options": options,
            "seed": seed,
            "count": count,
            "data_digest": self.dataset.digest,
        }
        if any(record | identity == record for record in read_records(self.results)):
            logger.info(f"{variant}, seed {seed}: done before")
            return None
        length = "{cfg}-{kimg:g}kimg".format(**self.common)
        outdir = self.work / "runs" / f"{variant}-{length}-seed{seed}"
        given = self.common | options | {"seed": seed}
        request = LaunchRequest(outdir, self.dataset.config.path, given, None, None, False)
        logger.info(f"{variant}, seed {seed}: {VARIANTS[variant].what}")
        outcome = launch(request, self.world, lambda config, dataset: None)
        if outcome.interrupted_by is not None:
            return outcome.interrupted_by
        assert outcome.run_dir is not None, "only a dry run has no folder"
        network = load_network(str(outcome.run_dir))
        history = read_history(outcome.run_dir)
        record = identity | {
            "trained_kimg": network.nimg / 1000,
            "seconds": round(history.series("Timing/seconds")[-1], 1),
            "data": self.name,
            "judge_on_held_out": round(self.judge.held_out_accuracy, 4),
            "scores": self.scores(network, count),
            **device_facts(self.world.device),
        }
        append_json_line(self.results, json.dumps(record))
        logger.info(f"{variant}, seed {seed}: {record['scores']}")
        return None

    def scores(self, network: NetworkFile, count: int) -> dict[str, float]:
        """FD, KID, precision, recall, class accuracy and spread of `count` generated images."""
        names = [f"fid{count}_full", f"kid{count}_full", f"pr{count}3_full", f"acc{count}"]
        metrics = parse_metrics(names)
        device = self.world.device
        synthesizer = make_synthesizer(network, device, StyleConfig(noise_mode="random"))
        fakes = NetworkImages(synthesizer, self.dataset, {"network_digest": network.digest})
        subject = Subject(DatasetImages(self.dataset), fakes)
        instruments = load_instruments(metrics, "efficientnet-lite0", None, self.judge, device)
        done = measure(metrics, subject, instruments, self.world)
        for _, error in done.failures:
            raise error
        values = {k: round(v, 5) for record in done.records for k, v in record.results.items()}
        if self.name == DIGITS:
            seen = list(range(SPREAD_SAMPLES))
            images = torch.cat(list(fakes.batches(seen, 100))).cpu().float() / 255
            spread = class_spread(images, fakes.labels(seen))
            values["spread"] = round(spread / self._real_spread(), 4)
        return values

    def _real_spread(self) -> float:
        return class_spread(self.dataset.load_images(1).float() / 255, self.dataset.labels)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The lines of a result file; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def chosen_variants(text: str) -> Sequence[str]:
    """Names of `--variants`: main, all, or some by name."""
    if text in ("main", "all"):
        return list(MAIN if text == "main" else VARIANTS)
    names = text.split(",")
    for name in names:
        if name not in VARIANTS:
            raise UserError(
                f"--variants: there is no {name!r}; choose main, all, or of {', '.join(VARIANTS)}"
            )
    return names


@click.command(context_settings=CONTEXT)
@click.option("--data", default=DIGITS, show_default=True, help="digits, or a data set.")
@click.option("--cfg", type=click.Choice(PRESET_NAMES), default="tiny", show_default=True)
@click.option("--kimg", type=float, help="Length of each run. [by --cfg]")
@click.option("--seeds", type=SeedList(), default="0-2", show_default=True)
@click.option("--variants", default="main", show_default=True, help="main, all, or names.")
@click.option("--count", type=int, default=2000, show_default=True, help="Images to score.")
@click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), default="auto")
@click.option("--threads", type=int, default=2, show_default=True, help="Of a CPU.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/ablation"))
@click.option("--page", is_flag=True, help="Draw docs/results.md, train nothing.")
def main(
    data: str,
    cfg: PresetName,
    kimg: float | None,
    seeds: list[int],
    variants: str,
    count: int,
    device: str,
    threads: int,
    work: Path,
    page: bool,
) -> int:
    """Compare variants of DuDGAN on one data set."""
    if page:
        draw_page({path.stem: read_records(path) for path in sorted(RESULTS.glob("ablation-*"))})
        return 0
    names = chosen_variants(variants)
    torch.set_num_threads(threads)
    ablation = Ablation(data, cfg, kimg, work, choose_device(device))
    for seed in seeds:
        for name in names:
            interrupted_by = ablation.run(name, seed, count)
            if interrupted_by is not None:
                return EXIT_SIGNAL + interrupted_by
    logger.info(f"Records are in {ablation.results}")
    return 0


if __name__ == "__main__":
    run(main)
