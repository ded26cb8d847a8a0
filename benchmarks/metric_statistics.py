"""Seconds and memory that FID, KID, precision and recall take once features are there.

python -m benchmarks.metric_statistics
python -m benchmarks.metric_statistics --images 50000 --features 2048 --threads 2 --out FILE.json

Features are independent N(0, 1): the hardest for neighbours, since no direction tells more than
another. Each metric runs in a process of its own; its memory includes both sets of features.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click
import torch

from benchmarks.records import Record, device_facts, put
from dnnlib.cli import CONTEXT, run
from dnnlib.logs import logger
from metrics import families
from metrics.families import Family
from metrics.sources import Sample

GIB = 2**30
STATISTICS: Mapping[str, Family] = {
    family.prefix: family for family in families.COUNTED if family.prefix in {"fid", "kid", "pr"}
}


def measure_statistics(num_images: int, num_features: int, threads: int) -> dict[str, Record]:
    """Seconds and peak memory in GiB of each statistic, as many real images as generated ones."""
    context = multiprocessing.get_context("spawn")
    results: dict[str, Record] = {}
    for name in STATISTICS:
        with context.Pool(1) as pool:
            task = (name, num_images, num_features, threads)
            results[name] = pool.apply(measure_statistic, task)
        logger.info(f"{name:4} {results[name]['seconds']:8.2f} s {results[name]['gib']:6.2f} GiB")
    return results


def measure_statistic(name: str, num_images: int, num_features: int, threads: int) -> Record:
    """Seconds that one statistic takes, and the most memory that this process ever had."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(num_images, dtype=torch.int64)
    real, fake = (
        Sample(torch.randn(num_images, num_features, generator=generator), labels) for _ in range(2)
    )
    started = time.perf_counter()
    values = STATISTICS[name].compute(real, fake)
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
    return {"seconds": round(seconds, 2), "gib": round(peak, 2), "values": values}


@click.command(context_settings=CONTEXT)
@click.option("--images", type=click.IntRange(min=10), default=50_000, show_default=True)
@click.option("--features", type=click.IntRange(min=1), default=2048, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file that gets the record.")
def main(images: int, features: int, threads: int, out: Path | None) -> None:
    """Measure FID, KID, precision and recall of random features."""
    facts = device_facts(torch.device("cpu"))
    logger.info(f"{images} x {features} features on each side, {threads} threads")
    results = measure_statistics(images, features, threads)
    total = sum(result["seconds"] for result in results.values())
    logger.info(f"all  {total:8.2f} s {max(result['gib'] for result in results.values()):6.2f} GiB")
    if out is not None:
        shape: Record = {"images": images, "features": features, "threads": threads}
        put(out, "metric_statistics", shape, facts | {"results": results})


if __name__ == "__main__":
    run(main)
