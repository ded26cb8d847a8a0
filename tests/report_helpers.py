"""Folders of runs that never were, and what a page of one says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import torch
from network_helpers import tiny_config

from training.config import TrainingConfig
from training.pictures import make_grid, save_image
from training.report.run_report import write_report
from training.samples import COLUMNS, NOISE_COLUMNS

EMPTY_ELEMENTS = {"meta", "link", "img", "input", "line", "circle", "polyline", "polygon", "br"}


def make_run(
    folder: Path,
    config: TrainingConfig | None = None,
    kimg: Sequence[int] = (),
    ticks: Sequence[dict[str, Any]] = (),
) -> Path:
    """A run's folder with its configuration, pictures at each of `kimg`, and ticks."""
    config = tiny_config() if config is None else config
    folder.mkdir(exist_ok=True)
    (folder / "training_options.json").write_text(config.to_json(), encoding="utf-8")
    if ticks:
        lines = "".join(json.dumps(tick) + "\n" for tick in ticks)
        (folder / "stats.jsonl").write_text(lines, encoding="utf-8")
    for number in kimg:
        add_pictures(folder, config, number)
    return folder


def add_pictures(folder: Path, config: TrainingConfig, number: int) -> None:
    """What a snapshot draws, in a grey of its own, and what a run draws first."""
    facts = config.facts
    names = facts.class_names[:32]
    views = [
        view for view in ("D", "C") if getattr(config, f"diffusion_{view.lower()}") is not None
    ]
    sheets = {f"fakes{number:06d}.png": (names, COLUMNS, len(names) or 8)}
    if views:
        rows = [view for view in views for _ in range(3)]
        sheets[f"noise{number:06d}.png"] = rows, NOISE_COLUMNS, len(rows)
    if not (folder / "reals.png").exists():
        sheets["reals.png"] = sheets["fakes_init.png"] = (names, COLUMNS, len(names) or 8)
    for name, (captions, columns, rows) in sheets.items():
        shape = [rows * columns, facts.num_channels, facts.height, facts.width]
        grey = 240 if name == "reals.png" else 10 * number % 200
        images = torch.full(shape, grey, dtype=torch.uint8)
        save_image(folder / name, make_grid(images, columns, captions))


def tick(kimg: float, **values: object) -> dict[str, Any]:
    """A record of stats.jsonl with these values; '__' in a name stands for '/'."""
    return {"kimg": kimg, "step": 1} | {
        name.replace("__", "/"): value for name, value in values.items()
    }


def score(kimg: int, value: float, **facts: object) -> dict[str, Any]:
    """A record of metric-*.jsonl."""
    network = {"network": f"network-snapshot-{kimg:06d}.safetensors", "network_digest": str(kimg)}
    record: dict[str, Any] = {
        "metric": "fid2k",
        "results": {"fid2k": value},
        "classes": [],
        "warnings": [],
        "num_real": 100,
        "num_fake": 2000,
        "detector": "efficientnet-lite0",
        "detector_digest": "ab" * 32,
        "resize": "none",
        "precision": "fp32",
        "dataset_digest": "cd" * 32,
        "mirror": False,
        "fakes": network | {"trunc": 1.0},
        "versions": {"torch": "2"},
    }
    return record | facts


def write_scores(run_dir: Path, *records: dict[str, Any], name: str = "fid2k") -> None:
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (run_dir / f"metric-{name}.jsonl").write_text(lines, encoding="utf-8")


@dataclass
class Element:
    """An element of a page, the text in it, and the names of those that it is in."""

    tag: str
    attributes: dict[str, str | None]
    inside: tuple[str, ...]
    text: str = ""


@dataclass
class PageParser(HTMLParser):
    """All elements of a page in order; refuses one that is not well nested."""

    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), tuple(each.tag for each in self.open))
        self.elements.append(element)
        if tag not in EMPTY_ELEMENTS:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs), tuple(each.tag for each in self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str, css: str | None = None) -> list[Element]:
        """Elements of that name, and of that class if one is given."""
        return [
            element
            for element in self.elements
            if element.tag == tag
            and (css is None or css in (element.attributes.get("class") or "").split())
        ]


def parse(run_dir: Path) -> PageParser:
    """The page of a run as it is."""
    parser = PageParser()
    parser.feed((run_dir / "report.html").read_text(encoding="utf-8"))
    parser.close()
    assert not parser.open
    return parser


def reported(run_dir: Path) -> PageParser:
    """The page of a run, written anew."""
    assert write_report(run_dir) == run_dir / "report.html"
    return parse(run_dir)


def charts(page: PageParser) -> dict[str, dict[str, Any]]:
    """What the charts of a page draw, by title."""
    titles = [element.text for element in page.all("h3")]
    data = [e for e in page.all("script") if e.attributes.get("type") == "application/json"]
    return {title: json.loads(e.text) for title, e in zip(titles, data, strict=True)}


def captions(page: PageParser, start: str) -> list[str]:
    """Captions of the pictures whose alternative text begins with `start`, in order."""
    return [
        str(image.attributes["data-caption"])
        for image in page.all("img")
        if str(image.attributes["alt"]).startswith(start)
    ]
