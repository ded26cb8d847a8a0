"""How fast scores are computed: images a second by detector and stage.

python -m benchmarks.metrics
python -m benchmarks.metrics --detector inception --out benchmarks/results/metrics.json

Makes its own pictures. Inception and VGG16 get random weights where their files cannot be had; they
take the same time. Prints a line for each stage; --out puts the record into a JSON file.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from benchmarks.data import write_pictures
from benchmarks.records import Record, device_facts, put
from dnnlib import UserError
from dnnlib.cli import CONTEXT, run
from dnnlib.logs import logger
from metrics.detectors import DETECTORS, get_detector
from metrics.detectors.base import as_rgb, in_batches
from metrics.detectors.inception import INCEPTION_WEIGHTS, InceptionDetector
from metrics.detectors.inception_network import Inception, published_shapes
from metrics.detectors.network import NetworkDetector, Precision
from metrics.detectors.vgg16 import VGG16, VGG16_WEIGHTS, VGG16Detector
from metrics.detectors.weights import PublicWeights, Shapes, WeightsFile
from metrics.features import cache_entry, compute_features
from metrics.fid import fid
from metrics.images import fair_sample
from metrics.kid import kid
from metrics.pipeline import ahead
from metrics.precision_recall import precision_recall
from torch_utils.world import choose_device
from training.data.dataset import DataConfig, open_dataset
from training.evaluation import DatasetImages

Seconds = dict[str, float]
"""By stage."""
STATISTICS: Mapping[str, Callable[[Tensor, Tensor], object]] = {
    "FID": fid,
    "KID": kid,
    "precision and recall": precision_recall,
}


def load_detector(name: str, device: torch.device) -> NetworkDetector:
    """The detector called `name`, with random weights where there are none."""
    plain = name.removesuffix(":fp16")
    precision: Precision = "fp32" if plain == name else "fp16"
    if plain == "inception" and _is_missing(INCEPTION_WEIGHTS):
        with torch.device("meta"):
            shapes = published_shapes(Inception())
        return InceptionDetector(_random_weights(shapes), device, precision)
    if plain == "vgg16" and _is_missing(VGG16_WEIGHTS):
        with torch.device("meta"):
            shapes = {key: value.shape for key, value in VGG16().state_dict().items()}
        return VGG16Detector(_random_weights(shapes), device, precision)
    detector = get_detector(name, device)
    if not isinstance(detector, NetworkDetector):
        raise UserError(f"--detector {name}: has no stages of its own; name one with a network")
    return detector


def _is_missing(weights: PublicWeights) -> bool:
    try:
        weights.locate()
    except UserError as error:
        logger.info(f"{error}; taking random weights")
        return True
    return False


def _random_weights(shapes: Shapes) -> WeightsFile:
    tensors = {name: _random(name, shape) for name, shape in shapes.items()}
    return WeightsFile(Path("random weights"), "0" * 64, tensors, False)


def _random(name: str, shape: torch.Size) -> Tensor:
    """Weights that keep activations finite."""
    if len(shape) == 1:
        return torch.ones(shape) if name.endswith(("var", "bn.weight")) else torch.zeros(shape)
    return torch.empty(shape).normal_(std=(2 / shape[1:].numel()) ** 0.5)


def measure_detector(detector: NetworkDetector, reals: DatasetImages, batch: int) -> Seconds:
    """Seconds for all of `reals`: resize, network, all up to kept features, a cache hit."""
    count, device = reals.num_images, detector.device
    images = torch.cat(list(reals.batches(range(count), batch)))
    detector(images[:batch])  # the first call picks algorithms

    def prepare(part: Tensor) -> Tensor:
        return detector.prepare(as_rgb(part.to(device)).float())

    def stage(work: Callable[[Tensor], Tensor], parts: Sequence[Tensor]) -> float:
        return seconds_of(lambda: [in_batches(work, part, device) for part in parts], device)

    parts = torch.split(images, batch)
    prepared = in_batches(prepare, parts[0], device)
    prepared = prepared.contiguous(memory_format=torch.channels_last)
    network: nn.Module = detector.network

    def together() -> None:
        batches = ahead(reals.batches(fair_sample(count, count), batch))
        features = compute_features(detector, batches, count, detector.name)
        cache_entry(detector, reals, count).save(features)

    with fresh_cache():
        seconds = {
            "resize": stage(prepare, parts),
            "network": stage(network, [prepared[: len(part)] for part in parts]),
            "together": seconds_of(together, device),
            "cache hit": seconds_of(cache_entry(detector, reals, count).load, device),
        }
        assert cache_entry(detector, reals, count).load() is not None
    return seconds


def measure_statistics(num_images: int, num_features: int) -> Seconds:
    """Seconds for each metric of random features, as many real ones as generated ones."""
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, num_images, num_features, generator=generator)
    cpu = torch.device("cpu")
    return {
        name: seconds_of(lambda metric=metric: metric(real, fake), cpu)  # type: ignore[misc]
        for name, metric in STATISTICS.items()
    }


@torch.inference_mode()
def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Time that `work` takes, with all that it has put on `device`."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


@contextmanager
def fresh_cache() -> Iterator[None]:
    """An empty cache for features meanwhile."""
    before = os.environ.get("DUDGAN_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DUDGAN_CACHE_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["DUDGAN_CACHE_DIR"]
            if before is not None:
                os.environ["DUDGAN_CACHE_DIR"] = before


def report(name: str, seconds: Seconds, count: int) -> None:
    """Print a line for each stage, with images a second for what goes image by image."""
    for stage, value in seconds.items():
        rate = "" if stage in STATISTICS else f"{count / value:12,.1f} img/s"
        logger.info(f"{name:24}{stage:22}{value:9.3f} s{rate}")


@click.command(context_settings=CONTEXT)
@click.option("--detector", "names", multiple=True, help="As in calc_metrics.py.  [all]")
@click.option("--images", type=click.IntRange(min=8), default=1000, show_default=True)
@click.option("--size", type=click.IntRange(min=16), default=32, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file that gets the record.")
def main(
    names: tuple[str, ...], images: int, size: int, batch: int, device: str, out: Path | None
) -> None:
    """Time the stages of metrics on --images pictures of --size pixels a side."""
    chosen = choose_device(device)
    detectors = names or tuple(DETECTORS)
    facts = device_facts(chosen)
    logger.info(f"{facts['device']}, torch {facts['torch']}: {images} pictures of {size}x{size}")
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_dataset(
            DataConfig(path=str(write_pictures(Path(folder) / "x", images, size)))
        )
        reals = DatasetImages(dataset)
        assert reals.digest
        indices = fair_sample(images, images)
        decode = seconds_of(lambda: list(reals.batches(indices, batch)), chosen)
        results = {"decode": {"decode": decode}}
        report("", results["decode"], images)
        for name in detectors:
            detector = load_detector(name, chosen)
            results[name] = measure_detector(detector, reals, batch)
            results[name] |= measure_statistics(images, detector.num_features)
            report(name, results[name], images)
    if out is not None:
        pictures = {"images": images, "size": size, "batch": batch}
        setting: Record = pictures | {"detectors": list(detectors)}
        put(out, "metrics", setting, facts | {"seconds": results})


if __name__ == "__main__":
    run(main)
