"""Everything that only a GPU can tell, in one go: parity tests, then benchmarks, then the page.

python -m benchmarks.gpu
python -m benchmarks.gpu --quick

Writes benchmarks/results/DEVICE.json and the tables of docs/performance.md; --quick writes
build/DEVICE-quick.json and leaves the page alone. A part that fails is named at the end and keeps
none of the others from running.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import torch

from benchmarks.performance_page import PAGE, write_page
from dnnlib import RunError, UserError
from dnnlib.cli import CONTEXT, run
from dnnlib.logs import logger

RESULTS, BUILD = Path(__file__).parent / "results", Path("build")
PLAIN = ("--classifier", "no", "--noise-model", "none")  # StyleGAN2 alone

Arguments = tuple[str, ...]


def training_settings() -> list[Arguments]:
    """What `benchmarks.train_step` is to time: networks, players, arithmetic, graphs."""
    sizes: list[Arguments] = [
        ("--cfg", "cifar", "--resolution", "32"),
        ("--cfg", "auto", "--resolution", "64"),
        ("--cfg", "paper256", "--resolution", "256"),
    ]
    settings = [size + players for size in sizes for players in (PLAIN, ())]
    for precision in ("fp32", "tf32", "fp16", "bf16"):
        for graphs in ("no", "yes"):
            arithmetic = ("--precision", precision, "--cuda-graphs", graphs)
            settings += [sizes[0] + players + arithmetic for players in (PLAIN, ())]
    return settings


def commands(out: Path, quick: bool) -> list[tuple[str, list[str]]]:
    """Titles and commands, in order of importance."""
    python = [sys.executable, "-m"]
    write = ["--out", str(out)]
    repeats = ["--repeats", "1" if quick else "3"]
    settings = training_settings()[:1] if quick else training_settings()
    return [
        ("parity", [*python, "pytest", "-m", "gpu", "tests/gpu", "-x" if quick else "-q"]),
        (
            "operators",
            [
                *python,
                "benchmarks.ops",
                *write,
                *(["--quick"] if quick else ["--dtypes", "float16"]),
            ],
        ),
        *(
            (
                f"training step {' '.join(setting)}",
                [*python, "benchmarks.train_step", *setting, *repeats, *write],
            )
            for setting in settings
        ),
        *(
            (
                f"generation {precision}",
                [
                    *[*python, "benchmarks.generate", "--cfg", "auto", "--resolutions", "32,256"],
                    *["--precision", precision, "--cuda-graphs", "yes", "--seconds", "0.5"],
                    *write,
                ],
            )
            for precision in ("fp32", "fp16")
        ),
        ("metrics", [*python, "benchmarks.metrics", *write]),
        ("data", [*python, "benchmarks.data", *write]),
        *sanitizing(),
    ]


def sanitizing() -> list[tuple[str, list[str]]]:
    """The operators' parity tests under NVIDIA's compute-sanitizer, where that is installed."""
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        return []
    tests = ["pytest", "-x", "tests/gpu/test_bias_act.py", "tests/gpu/test_upfirdn2d.py"]
    return [
        (tool, [sanitizer, "--tool", tool, "--error-exitcode", "1", sys.executable, "-m", *tests])
        for tool in ("memcheck", "racecheck")
    ]


@click.command(context_settings=CONTEXT)
@click.option("--quick", is_flag=True, help="The least of each, to see that all works.")
@click.option(
    "--minutes", type=click.FloatRange(min=0), help="No part begins after that.  [no limit]"
)
def main(quick: bool, minutes: float | None) -> None:
    """Run the tests and the benchmarks that need a GPU."""
    if not torch.cuda.is_available():
        raise UserError("make gpu: needs a CUDA device, torch finds none on this machine")
    name = re.sub(r"[^A-Za-z0-9]+", "-", torch.cuda.get_device_name()).strip("-").lower()
    out = BUILD / f"{name}-quick.json" if quick else RESULTS / f"{name}.json"
    end = math.inf if minutes is None else time.monotonic() + minutes * 60
    failed, left = [], []
    for title, command in commands(out, quick):
        if time.monotonic() >= end:
            left.append(title)
            continue
        logger.info(f"== {title}")
        started = time.monotonic()
        status = subprocess.run(command, env=os.environ | {"REQUIRE_GPU": "1"}, check=False)
        logger.info(f"   {time.monotonic() - started:.0f} s")
        if status.returncode != 0:
            failed.append(title)
    if not sanitizing():
        logger.info("compute-sanitizer is not on the PATH: memcheck and racecheck were not run")
    if not quick:
        write_page(RESULTS, PAGE)
    logger.info(f"Results: {out}" if quick else f"Results: {out}, {PAGE}")
    if failed or left:
        parts = [f"failed: {', '.join(failed)}"] if failed else []
        parts += [f"no time for: {', '.join(left)}"] if left else []
        raise RunError("; ".join(parts))


if __name__ == "__main__":
    run(main)
