"""How well a setting learns the embedded digits in a given time.

python -m benchmarks.digits --minutes 5 --threads 2 --name tiny
python -m benchmarks.digits --minutes 5 --set '{"classifier": false, "noise_model": "none"}'

Prints accuracy and spread every minute, and appends the last, with the device, to
benchmarks/results/digits.jsonl. Only time spent in training steps counts.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import torch

from benchmarks.judge import Judge, accuracy, class_spread, train_judge
from benchmarks.records import device_facts
from dnnlib import UserError
from dnnlib.cli import CONTEXT, run
from dnnlib.json_lines import append_json_line
from dnnlib.logs import logger
from torch_utils.stats import Stats
from torch_utils.world import World
from training.data.convert import ConvertConfig, convert
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.data.loader import make_loader
from training.networks.generator import Generator
from training.networks.layers import one_hot
from training.options import data_facts, make_config, resolve_options
from training.pictures import make_grid, save_image, to_uint8
from training.state import TrainingState
from training.trainer import Trainer

SIZE = 16
NUM_JUDGED = 1000
RESULTS = Path(__file__).parent / "results"


class DigitExam:
    """The judge, and the real digits that it compares with."""

    def __init__(self, dataset: ImageDataset) -> None:
        real = dataset.load_images(1).float() / 255
        self.judge: Judge
        self.judge, self.judge_accuracy = train_judge(real, dataset.labels)
        self.real_spread = class_spread(real, dataset.labels)

    @torch.no_grad()
    def examine(self, generator: Generator) -> tuple[float, float]:
        """Accuracy, and spread relative to the real digits', of 1,000 digits without truncation."""
        images, labels = generate(generator, NUM_JUDGED)
        digits = images.float() / 255
        return accuracy(self.judge, digits, labels), class_spread(digits, labels) / self.real_spread


@torch.no_grad()
def generate(generator: Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images `[count, 1, 16, 16]` of fixed latents, and their labels, classes in turn."""
    labels = torch.arange(count) % 10
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(1))
    parts = zip(torch.split(z, 100), torch.split(one_hot(labels, 10), 100), strict=True)
    return torch.cat([to_uint8(generator(z, c, noise_mode="const")) for z, c in parts]), labels


def prepare_digits(folder: Path) -> ImageDataset:
    """The embedded digits at 16x16."""
    path = folder / f"digits{SIZE}.zip"
    if not path.is_file():
        convert(ConvertConfig(source="builtin:mnist5k", dest=str(path), resolution=(SIZE, SIZE)))
    return open_dataset(DataConfig(path=str(path)))


@click.command(context_settings=CONTEXT)
@click.option("--minutes", type=float, default=5.0, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--name", default="tiny", show_default=True, help="Of the row in the results.")
@click.option("--set", "overrides", default="{}", help="TrainOptions to change, as JSON.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/digits"))
def main(minutes: float, threads: int, name: str, overrides: str, work: Path) -> None:
    """Train --cfg tiny, changed by --set, for --minutes and let the judge look at it."""
    torch.set_num_threads(threads)
    try:
        given = json.loads(overrides)
    except ValueError as error:
        raise UserError(f"--set takes a JSON object of options: {error}") from None
    dataset = prepare_digits(work)
    exam = DigitExam(dataset)
    facts = data_facts(dataset)
    config = make_config(resolve_options("tiny", given, SIZE, SIZE), dataset.config, facts)
    device = torch.device("cpu")
    state, stats = TrainingState(config, device), Stats(World(device))
    data = make_loader(dataset, config.batch, config.seed, 0, device, 0)
    trainer = Trainer(config, state, data, dataset.labels, World(device), stats)
    logger.info(f"{name}: judge {exam.judge_accuracy:.3f} on held-out digits, {given}")

    spent, examined = 0.0, 0.0
    while spent < minutes * 60 and state.progress < 1:
        started = time.monotonic()
        trainer.step()
        spent += time.monotonic() - started
        if spent - examined >= 60:
            examined = spent
            logger.info(describe(name, spent, state, exam.examine(state.players.G_ema)))
    scores = exam.examine(state.players.G_ema)
    logger.info(describe(name, spent, state, scores))
    record = {
        "name": name,
        "set": given,
        "seconds": round(spent),
        "kimg": state.nimg / 1000,
        "accuracy": round(scores[0], 4),
        "spread": round(scores[1], 4),
        **device_facts(device),
    }
    append_json_line(RESULTS / "digits.jsonl", json.dumps(record))
    sheet = make_grid(generate(state.players.G_ema, 160)[0], 20)
    save_image(work / f"{name}.png", sheet)


def describe(name: str, seconds: float, state: TrainingState, scores: tuple[float, float]) -> str:
    """One line of progress."""
    return (
        f"{name}: {seconds:.0f} s, {state.nimg / 1000:.1f} kimg, accuracy {scores[0]:.3f}, "
        f"spread {scores[1]:.3f}"
    )


if __name__ == "__main__":
    run(main)
