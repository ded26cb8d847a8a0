"""The page: one HTML file that holds its style, its script and every picture."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from training.config import TrainingConfig
from training.report.axis import kimg_text, number_text
from training.report.chart import Panel, draw_panel, ticks_per_point
from training.report.facts import Facts, about, figures, noise_reading, provenance
from training.report.films import Picture, Reel, draw_reel
from training.report.panels import score_origins, score_panels, stats_panels
from training.report.pictures import FAKES, INIT_FILE, NOISE, REALS_FILE, Film, Moment, moments
from training.report.records import Records, Score
from training.samples import MAX_ROWS, NOISE_ROWS
from training.study.history import broken_lines
from training.study.stages import noisy_networks


@dataclass(frozen=True)
class SmallPicture:
    """WebP, and the key of the file that it was made of."""

    key: str
    data: bytes


@dataclass(frozen=True)
class Page:
    """What a page is made of."""

    run_dir: Path
    config: TrainingConfig
    records: Records
    pictures: Mapping[str, SmallPicture]  # by file name
    written: str  # when, and by what
    unreadable: Collection[str] = ()  # names of files that were tried and left out


def render(page: Page) -> str:
    """The HTML of a page. Whatever names and settings contain is text in it, never markup."""
    config, records = page.config, page.records
    parts = files(__package__) / "page"
    style, script = (
        (parts / name).read_text(encoding="utf-8") for name in ("style.css", "script.js")
    )
    row = "class" if config.facts.num_classes else "row"
    names = row_names(config)
    return Template((parts / "report.html").read_text(encoding="utf-8")).substitute(
        policy=_policy(style, script),
        style=style,
        script=script,
        name=escape(page.run_dir.resolve().name),
        about=escape(about(config)),
        figures=_definitions(figures(records, config)),
        notices=_notices(page),
        samples=_samples(page, names),
        row=row,
        row_label=row.capitalize(),
        row_options="".join(f"<option>{escape(name)}</option>" for name in names),
        scores=_scores(records),
        curves=_curves(page),
        noise=_noise(page),
        provenance=_table(provenance(page.run_dir, config)),
        config=escape(config.to_json()),
        written=escape(page.written),
    )


def row_names(config: TrainingConfig) -> list[str]:
    """What the rows of a sheet of samples are called: the first classes, or numbers."""
    return list(config.facts.class_names[:MAX_ROWS]) or [f"row {n}" for n in range(1, 9)]


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy that lets in nothing but what the page brings along."""
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
    )


def _samples(page: Page, names: Sequence[str]) -> str:
    pictures = []
    for moment, small in _shown(page, FAKES):
        caption = "start" if moment.path.name == INIT_FILE else _kimg(moment)
        pictures.append(_picture(small, f"Generated images, {caption}", caption))
    if not pictures:
        return "<p>No pictures yet.</p>"
    reals = page.pictures.get(REALS_FILE)
    real = None if reals is None else _picture(reals, "Real images", "real images")
    hint = f"<p class='hint'>{escape(_what_rows_are(page.config))}</p>"
    return hint + draw_reel(Reel("samples", pictures, names, _side(page.config), real))


def _kimg(moment: Moment) -> str:
    return f"kimg {kimg_text(moment.kimg)}"


def _what_rows_are(config: TrainingConfig) -> str:
    count = config.facts.num_classes
    if count == 0:
        return "The same latents throughout."
    which = f"each of the first {MAX_ROWS} of {count} classes" if count > MAX_ROWS else "each class"
    return f"A row for {which}, the same latents throughout."


def _noise(page: Page) -> str:
    networks = list(noisy_networks(page.config))
    if not networks:
        return "<p>Images without noise.</p>"
    if page.config.noise_at == "features":
        return "<p>Images without noise: it is added to features behind their first layer.</p>"
    count = min(NOISE_ROWS, page.config.facts.num_images)
    pictures = []
    for moment, small in _shown(page, NOISE):
        reading = noise_reading(page.records.history, page.config, moment.kimg)
        caption = ", ".join(filter(None, [_kimg(moment), reading]))
        pictures.append(_picture(small, f"Real images with growing noise, {caption}", caption))
    if not pictures:
        return "<p>No pictures yet.</p>"
    rows = [network for network in networks for _ in range(count)]
    hint = "<p class='hint'>Real images, with more and more noise to the right.</p>"
    return hint + draw_reel(Reel("noise", pictures, rows, _side(page.config)))


def _shown(page: Page, film: Film) -> Iterator[tuple[Moment, SmallPicture]]:
    for moment in moments(page.run_dir, film):
        if moment.path.name in page.pictures:
            yield moment, page.pictures[moment.path.name]


def _picture(small: SmallPicture, alt: str, caption: str) -> Picture:
    return Picture(small.key, small.data, caption, alt)


def _side(config: TrainingConfig) -> int:
    return max(config.facts.width, config.facts.height)


def _scores(records: Records) -> str:
    scores = records.scores
    if not scores:
        return "<p>None: neither --metrics nor calc_metrics.py took any.</p>"
    warnings = dict.fromkeys(text for score in scores for text in score.warnings)
    lines = [_charts(score_panels(scores), records)]
    origins = enumerate(score_origins(scores), start=1)
    lines += [f'<p class="hint">[{number}] {escape(origin)}</p>' for number, origin in origins]
    lines += [f'<p class="notice">{escape(text)}</p>' for text in warnings]
    newest = {name: score for score in scores if score.classes for name in score.values}
    for name, score in newest.items():
        lines.append(_class_table(name, score))
    return "\n".join(lines)


def _class_table(name: str, score: Score) -> str:
    rows = "".join(
        f"<tr><td>{escape(each.name)}</td>"
        f'<td class="number">{number_text(each.values[name])}</td></tr>'
        for each in score.classes
        if name in each.values
    )
    title = f"{name} within classes, kimg {kimg_text(score.kimg)}"
    return f"<details><summary>{escape(title)}</summary><table>{rows}</table></details>"


def _curves(page: Page) -> str:
    history = page.records.history
    if not history.records:
        return "<p>No tick is done yet.</p>"
    stretch, hint = ticks_per_point(len(history.records)), ""
    if stretch > 1:
        hint = f"A point is the mean of {stretch} ticks; the band goes from the least to the most."
    charts = _charts(stats_panels(history, page.config), page.records)
    return f'<p class="hint">{hint}</p>{charts}'


def _charts(panels: Sequence[Panel], records: Records) -> str:
    """Charts with the same kimg below each other; '' without any."""
    seen = [*records.history.kimg[-1:], *(score.kimg for score in records.scores)]
    drawn = [draw_panel(panel, until=max(seen)) for panel in panels]
    return "\n".join(['<div class="charts">', *drawn, "</div>"]) if drawn else ""


def _notices(page: Page) -> str:
    told = [f"{name}: {broken_lines(count)}" for name, count in page.records.broken.items()]
    files_shown = [moment.path for film in (FAKES, NOISE) for moment in moments(page.run_dir, film)]
    lacking = {path.name for path in files_shown} - {*page.pictures, *page.unreadable}
    if lacking:
        told.append(
            f"{len(lacking)} older picture{'s' * (len(lacking) > 1)} of this folder not shown: "
            "python -m training.report RUN_DIR adds what can be read."
        )
    if page.unreadable:
        told.append(f"Left out, torn or too large: {', '.join(page.unreadable)}.")
    return "".join(f'<p class="notice">{escape(text)}</p>' for text in told)


def _definitions(facts: Facts) -> str:
    return "".join(
        f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd></div>" for value, what in facts
    )


def _table(facts: Facts) -> str:
    return "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in facts
    )
