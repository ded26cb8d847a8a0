"""The tables of docs/results.md, drawn from the records of the ablation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import mean, stdev

from benchmarks.pages import markdown, replace_tables
from benchmarks.records import Record
from benchmarks.variants import VARIANTS
from dnnlib import UserError
from dnnlib.logs import logger

PAGE = Path(__file__).parent.parent / "docs" / "results.md"
_DIGITS = {"FID": 1, "KID": 4, "precision": 2, "recall": 3, "accuracy": 3, "spread": 2}


def draw_page(records: Mapping[str, Sequence[Record]], page: Path = PAGE) -> None:
    """Put a section for each result file between the marks of `page`."""
    replace_tables(page, [section(one) for one in records.values() if one])
    logger.info(f"Page: {page}")


def section(records: Sequence[Record]) -> str:
    """All variants on one data set, in the order of `VARIANTS`.

    A table for each preset, length and number of scored images. Raises `UserError` where one has
    two records of a variant and seed, which would count twice.
    """
    parts = [f"### {records[0]['data']}"]
    for key, group in groupby(sorted(records, key=_comparable), _comparable):
        (cfg, kimg, count), chosen = key, list(group)
        _refuse_repeated(chosen)
        devices = "; ".join(sorted({f"{r['device']}, torch {r['torch']}" for r in chosen}))
        judged = chosen[0]["judge_on_held_out"]
        parts.append(
            f"`--cfg {cfg}`, {kimg:.0f} kimg, {count} generated images against all real ones. "
            f"{devices}. The judge is right on {judged:.1%} of real images that it has not seen."
        )
        parts.append(_table(chosen))
    return "\n\n".join(parts)


def _comparable(record: Record) -> tuple[str, float, int]:
    return record["cfg"], record["trained_kimg"], record["count"]


def _refuse_repeated(records: Sequence[Record]) -> None:
    runs = Counter((record["variant"], record["seed"]) for record in records)
    (variant, seed), times = runs.most_common(1)[0]
    if times > 1:
        raise UserError(
            f"ablation-{records[0]['data']}.jsonl: {times} records of {variant}, seed {seed}, "
            "at equal settings; keep one of these lines"
        )


def _table(records: Sequence[Record]) -> str:
    names = [name for name in _DIGITS if name in named_scores(records[0])]
    rows = []
    for name in VARIANTS:
        own = [record for record in records if record["variant"] == name]
        if not own:
            continue
        scores = [named_scores(record) for record in own]
        cells = [spread_of([score[key] for score in scores], _DIGITS[key]) for key in names]
        seconds = f"{mean(record['seconds'] for record in own):.0f}"
        rows.append([f"`{name}`", VARIANTS[name].what, str(len(own)), seconds, *cells])
    return markdown(["variant", "what", "seeds", "seconds", *names], rows)


def named_scores(record: Record) -> dict[str, float]:
    """Scores of a record under the names of the table's columns."""
    columns = {}
    for name, value in record["scores"].items():
        if name.startswith("fid"):
            columns["FID"] = value
        elif name.startswith("kid"):
            columns["KID"] = value
        elif name.startswith("pr"):
            columns[name.rpartition("_")[2]] = value
        elif name.startswith("acc") and not name.endswith("real"):
            columns["accuracy"] = value
        elif name == "spread":
            columns["spread"] = value
    return columns


def spread_of(values: Sequence[float], digits: int) -> str:
    """Mean and, of several, the standard deviation."""
    text = f"{mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {stdev(values):.{digits}f}"
