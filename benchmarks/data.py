"""How fast data is prepared and read: conversion, random reads, loaders, PNG packing.

python -m benchmarks.data
python -m benchmarks.data --images 4000 --out benchmarks/results/data.json

Makes its own pictures: grain, and discs with soft edges before it. All files were written just
before, so reads come from the system's memory. Prints a table; --out puts the record into a JSON
file.
"""

from __future__ import annotations

import io
import logging
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.records import device_facts, put
from dnnlib.cli import CONTEXT, run
from dnnlib.logs import logger
from torch_utils.world import choose_device
from training.data.archive import ImageArchive
from training.data.convert import ConvertConfig, convert
from training.data.dataset import DataConfig, open_dataset
from training.data.images import Pixels, encode_image, to_pillow
from training.data.loader import make_loader

BATCH = 64
# The first is what `encode_image` does.
PACKINGS: dict[str, dict[str, int]] = {
    "run lengths": {"compress_type": zlib.Z_RLE},
    "level 1": {"compress_level": 1},
    "level 6": {"compress_level": 6},
    "level 9": {"compress_level": 9},
}
Rows = dict[str, float]
"""Images a second, or bytes an image, by what was measured."""


def picture(rng: np.random.Generator, side: int) -> Pixels:
    """A random picture, uint8 `[side, side, 3]`: 1/f grain with three soft discs before it."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    noise = rng.standard_normal((3, 2, *frequency.shape))
    spectrum = (noise[:, 0] + 1j * noise[:, 1]) / (frequency + 1 / side) ** 1.6
    grain = np.fft.irfft2(spectrum, (side, side))
    image = 128 + 45 * grain / grain.std()
    rows, columns = np.mgrid[:side, :side] / side
    for _ in range(3):
        (row, column), radius = rng.random(2), rng.uniform(0.05, 0.3)
        cover = np.clip((radius - np.hypot(rows - row, columns - column)) * side + 0.5, 0, 1)
        image += cover * (rng.uniform(0, 255, (3, 1, 1)) - image)
    pixels: Pixels = np.clip(image, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return pixels


def write_pictures(folder: Path, count: int, side: int) -> Path:
    """`count` PNG files in `folder`."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06d}.png").write_bytes(encode_image(picture(rng, side), "png"))
    return folder


def time_conversion(source: Path, folder: Path, repeats: int) -> Rows:
    """64x64 PNG from 128x128 PNG, start of the processes included."""
    rows: Rows = {}
    count = len(ImageArchive(source))
    for workers in (1, 2):
        dest = folder / f"64-{workers}.zip"
        config = ConvertConfig(
            source=str(source),
            dest=str(dest),
            resolution=(64, 64),
            workers=workers,
            overwrite=True,
        )
        seconds = best_seconds(lambda config=config: convert(config), repeats)  # type: ignore[misc]
        rows[f"conversion, workers {workers}"] = count / seconds
    return rows


def time_packing(path: Path, repeats: int) -> tuple[Rows, Rows]:
    """Pictures of the data set as PNG, by ours and by zlib's levels: images a second, and bytes."""
    archive = ImageArchive(path)
    images = [to_pillow(archive.read(index)) for index in range(min(len(archive), 200))]
    rates: Rows = {}
    sizes: Rows = {}
    for packing, options in PACKINGS.items():

        def pack(options: dict[str, int] = options) -> int:
            buffer = io.BytesIO()
            for image in images:
                image.save(buffer, "PNG", **options)
            return buffer.tell()

        name = f"PNG {images[0].width}x{images[0].height}, {packing}"
        rates[name] = len(images) / best_seconds(pack, repeats)
        sizes[name] = pack() / len(images)
    return rates, sizes


def time_reads(places: dict[str, Path], repeats: int) -> Rows:
    """Images read in random order by one thread, decoded."""
    rows: Rows = {}
    for name, path in places.items():
        archive = ImageArchive(path)
        order = np.random.default_rng(1).permutation(len(archive)).tolist()
        seconds = best_seconds(
            lambda archive=archive, order=order: [archive.read(index) for index in order],  # type: ignore[misc]
            repeats,
        )
        rows[f"random reads, {name}"] = len(archive) / seconds
    return rows


def time_loaders(places: dict[str, Path], device: torch.device, seconds: float) -> Rows:
    """Batches of 64 as training gets them, from the device's memory and read ahead by workers."""
    rows: Rows = {}
    for name, path in places.items():
        dataset = open_dataset(DataConfig(path=str(path)))
        for kind, workers, limit in (
            ("resident", 0, 2**40),
            ("streaming, workers 0", 0, 0),
            ("streaming, workers 1", 1, 0),
            ("streaming, workers 2", 2, 0),
        ):
            loader = make_loader(dataset, BATCH, 0, 0, device, workers, resident_limit_bytes=limit)
            rows[f"loader {name}, {kind}"] = _rate(loader, device, seconds)
    return rows


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """The shortest of several times: what else the machine did only ever adds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def _rate(loader: Iterator[object], device: torch.device, seconds: float) -> float:
    """Images a second, once the first batches have come."""
    for _ in islice(loader, 4):
        pass
    _wait(device)
    started, batches = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        next(loader)
        batches += 1
    _wait(device)
    return batches * BATCH / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    images: int, device: torch.device, repeats: int, seconds: float, work: Path | None
) -> tuple[Rows, Rows]:
    """All of it, in a temporary folder below `work`: images a second, and bytes an image."""
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as name, _only_warnings():
        folder = Path(name)
        source = write_pictures(folder / "128", images, 128)
        large = write_pictures(folder / "256", max(images // 8, 1), 256)
        rows = time_conversion(source, folder, repeats)
        places = {}
        for side, suffix in ((64, ""), (32, ".zip")):
            places[f"{side}{suffix}"] = folder / f"small{side}{suffix}"
            options = {"source": str(source), "dest": str(places[f"{side}{suffix}"])}
            convert(ConvertConfig(**options, resolution=(side, side)))
        rows |= time_reads({"zip": folder / "64-2.zip", "folder": places["64"]}, repeats)
        rows |= time_loaders({"32x32": places["32.zip"], "256x256": large}, device, seconds)
        sizes: Rows = {}
        for path in (places["64"], large):
            packed = time_packing(path, repeats)
            rows |= packed[0]
            sizes |= packed[1]
    return rows, sizes


@contextmanager
def _only_warnings() -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


@click.command(context_settings=CONTEXT)
@click.option("--images", type=click.IntRange(1), default=2000, show_default=True)
@click.option("--device", default="auto", show_default=True, help="Where batches go.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=float, default=3.0, show_default=True, help="For each loader.")
@click.option("--work", type=click.Path(path_type=Path), help="For the files. [temporary folder]")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file that gets the record.")
def main(
    images: int,
    device: str,
    repeats: int,
    seconds: float,
    work: Path | None,
    out: Path | None,
) -> None:
    """Measure conversion, random reads, loaders and PNG packing in images a second."""
    where = choose_device(device)
    rates, sizes = measure(images, where, repeats, seconds, work)
    logger.info(f"{'':38}{'images/s':>12}{'bytes/image':>14}")
    for name, rate in rates.items():
        size = f"{sizes[name]:>14,.0f}" if name in sizes else ""
        logger.info(f"{name:38}{rate:>12,.0f}{size}")
    if out is not None:
        measured = {"images_per_second": rates, "bytes_per_image": sizes}
        put(out, "data", {"images": images}, device_facts(where) | measured)


if __name__ == "__main__":
    run(main)
