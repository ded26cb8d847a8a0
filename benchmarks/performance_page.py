"""The tables of docs/performance.md, drawn from the result files.

python -m benchmarks.performance_page

Rewrites what stands between the two marks of the page; the words around are people's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from benchmarks.pages import markdown, replace_tables
from benchmarks.records import Record
from dnnlib.cli import CONTEXT, run
from dnnlib.logs import logger

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


def train_step_table(records: Sequence[Record]) -> str:
    """Seconds per thousand images of each setting."""
    head = ("`--cfg`", "size", "networks", "arithmetic", "s/kimg", "times its convolutions", "GiB")
    rows = []
    for record in records:
        players = "StyleGAN2" + (" + C" if record["classifier"] else "")
        players += " + noise" if record["noise"] else ""
        arithmetic = record["precision"] + (", graphs" if record["cuda_graphs"] else "")
        ratio = record["sec_per_kimg"] / record["sec_per_kimg_convolutions_alone"]
        rows.append(
            (
                record["cfg"],
                "x".join(map(str, record["resolution"])),
                players,
                arithmetic,
                f"{record['sec_per_kimg']:.3g}",
                f"{ratio:.2f}",
                f"{record['peak_memory_gib']:.2f}",
            )
        )
    return markdown(head, rows)


def ops_table(records: Sequence[Record]) -> str:
    """Operators on layers beyond the cache, in shares of the copy bandwidth."""
    head = ("operator", "input", "type", "pass", "kernels", "plain", "torch.compile")
    rows = []
    for record in records:
        for result in record["results"]:
            if result["config"] != "large":
                continue
            speeds = [result[way] for way in ("kernels", "plain", "compiled")]
            cells = [
                f"{speed['ms']:.3f} ms, {speed['of_copy']:.0%}" if speed else "-"
                for speed in speeds
            ]
            size = "x".join(map(str, result["shape"]))
            kind = f"{result['dtype']} {result['layout']}"
            rows.append((result["operator"], size, kind, result["order"], *cells))
    return markdown(head, rows)


def generate_table(records: Sequence[Record]) -> str:
    """Images a second, one by one and in batches."""
    head = ("`--cfg`", "size", "arithmetic", "way", "batch", "images/s", "times single")
    rows = [
        (
            record["cfg"],
            str(row["resolution"]),
            record["precision"] + (", graphs" if record["cuda_graphs"] else ""),
            row["way"],
            str(row["batch"]),
            f"{row['images_per_second']:.0f}",
            f"{row['times_single']:.2f}",
        )
        for record in records
        for row in record["rows"]
    ]
    return markdown(head, rows)


def data_table(records: Sequence[Record]) -> str:
    """Conversion, reading and loading."""
    rows = [
        (name, f"{rate:,.0f}", f"{sizes[name]:,.0f}" if name in sizes else "")
        for record in records
        for sizes in [record["bytes_per_image"]]
        for name, rate in record["images_per_second"].items()
    ]
    return markdown(("what", "images/s", "bytes an image"), rows)


TABLES: dict[str, tuple[str, Callable[[Sequence[Record]], str]]] = {
    "train_step": ("A training step", train_step_table),
    "generate": ("Generation", generate_table),
    "data": ("Data", data_table),
    "ops": ("Operators", ops_table),
}


def device_section(results: dict[str, list[Record]]) -> str:
    """All tables of one device, under its name."""
    records = [record for kind in results.values() for record in kind]
    names = sorted({record["device"] for record in records})
    versions = sorted({record["torch"] for record in records})
    parts = [f"## {'; '.join(names)}", f"torch {', '.join(versions)}."]
    for kind, (title, table) in TABLES.items():
        if kind in results:
            parts += [f"### {title}", table(results[kind])]
    return "\n\n".join(parts)


def write_page(results: Path, page: Path) -> None:
    """Put the tables of every `*.json` in `results` between the marks of `page`."""
    sections = [
        device_section(json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(results.glob("*.json"))
    ]
    replace_tables(page, sections)


@click.command(context_settings=CONTEXT)
def main() -> None:
    """Draw the tables anew."""
    write_page(RESULTS, PAGE)
    logger.info(f"Page: {PAGE}")


if __name__ == "__main__":
    run(main)
