"""Lists of file names and labels: matched with the images, read from JSON, JSONL and CSV files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dnnlib import UserError
from dnnlib.files import read_plain
from training.data.labels import Labels, checked_class_names, make_text_labels

Locate = Callable[[str], int | None]

FILE_COLUMNS = (
    *("file", "file_name", "filename", "filepath", "path"),
    *("image", "image_id", "image_name", "img", "key", "id", "name"),
)
LABEL_COLUMNS = ("label", "labels", "class", "cls", "class_name", "category", "target")


def match(pairs: Any, locate: Locate, images: Sequence[str], source: str) -> list[Any]:
    """The label given to each image by [name, label] `pairs`: every image once, nothing else.

    `locate` gives the position of a name among `images`, None for an unknown one. Raises
    `UserError` for unknown names, for images labelled twice or not at all.
    """
    if not isinstance(pairs, list) or not all(is_pair(pair) for pair in pairs):
        raise UserError(f"{source}: labels must be a list of [file name, label]; mend it")
    labels: dict[int, Any] = {}
    for name, label in pairs:
        position = locate(name)
        if position is None:
            raise UserError(
                f"{source}: labels the unknown file {name!r:.200}; add the image or drop its label"
            )
        if position in labels:
            raise UserError(f"{source}: labels {name!r:.200} twice; drop one of the two")
        labels[position] = label
    missing = [name for i, name in enumerate(images) if i not in labels]
    if missing:
        raise UserError(
            f"{source}: has no label for {len(missing)} of {len(images)} images, the first is "
            f"{missing[0]}; label every image, or none"
        )
    return [labels[i] for i in range(len(images))]


def is_pair(content: Any) -> bool:
    """Whether `content` is [name, something]."""
    return isinstance(content, list) and len(content) == 2 and isinstance(content[0], str)


def parse_json(data: bytes, source: str) -> Any:
    """The value of a JSON file named `source`. Raises `UserError` where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: is not valid JSON ({error}); mend or remove it") from error


def path_finder(images: Sequence[str], bases: Sequence[str]) -> Locate:
    """Finds an image by its path from any of the folders `bases`, the top first.

    A list may have been written elsewhere: with other folders before that, or with backslashes.
    """
    # A path from the top goes before one from further down.
    positions = {
        name.removeprefix(base): i for base in reversed(bases) for i, name in enumerate(images)
    }

    def locate(listed: str) -> int | None:
        parts = listed.replace("\\", "/").split("/")
        endings = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((positions[ending] for ending in endings if ending in positions), None)

    return locate


def read_table(table: Path, column: str, images: Sequence[str], locate: Locate) -> Labels:
    """Labels of `images` from a CSV, TSV, JSONL or JSON file.

    A row is `file,label`, below a header or without one, or an object with such keys; `column`
    names the labels' one, '' takes the first of `LABEL_COLUMNS`. Files may be named by path, and,
    where only one has it, by name alone, with or without its extension. A label is a class index, a
    class name, or in JSON a list of numbers. Raises `UserError` for rows that do not fit.
    """
    source = str(table)
    try:
        data = read_plain(table)
    except OSError as error:
        raise UserError(f"--labels {table}: cannot be read ({error.strerror}); check it") from error
    names: tuple[str, ...] = ()
    if table.suffix.lower() == ".json":
        pairs, names = _json_pairs(parse_json(data, source), column, source)
    elif table.suffix.lower() in {".jsonl", ".ndjson"}:
        rows = [
            parse_json(line, f"{source} line {number}")
            for number, line in enumerate(data.splitlines(), 1)
            if line.strip()
        ]
        pairs = _object_pairs(rows, column, source)
    elif table.suffix.lower() in {".csv", ".tsv", ".txt"}:
        pairs = _csv_pairs(data, column, source)
    else:
        raise UserError(f"--labels {table}: must end in .csv, .tsv, .jsonl or .json; rename it")
    if not pairs:
        raise UserError(f"--labels {table}: holds no label; check it")
    raw = match(pairs, _short_names(images, locate, source), images, source)
    return make_text_labels(raw, images, source, names)


def _short_names(images: Sequence[str], locate: Locate, source: str) -> Locate:
    """`locate`, and for names without a folder any image of that name or stem."""
    short: dict[str, set[int]] = {}
    for i, name in enumerate(images):
        base = name.rpartition("/")[2]
        for key in (base, base.rpartition(".")[0]):
            short.setdefault(key, set()).add(i)

    def find(listed: str) -> int | None:
        found = locate(listed)
        if found is not None or listed not in short:
            return found
        if len(short[listed]) > 1:
            first, second, *_ = sorted(short[listed])
            raise UserError(
                f"{source}: {listed!r} may be {images[first]} or {images[second]}; give its path"
            )
        return min(short[listed])

    return find


def _json_pairs(content: Any, column: str, source: str) -> tuple[list[list[Any]], tuple[str, ...]]:
    names: tuple[str, ...] = ()
    if isinstance(content, dict):
        names = checked_class_names(content.get("class_names"), source)
        content = content.get("labels")
    if not isinstance(content, list):
        raise UserError(f"{source}: must be a list of [file name, label]; mend it")
    return _object_pairs(content, column, source), names


def _object_pairs(rows: list[Any], column: str, source: str) -> list[list[Any]]:
    """[file, label] of every row, a pair or an object with two such keys."""
    pairs = []
    for number, row in enumerate(rows, 1):
        pair = row
        if isinstance(row, dict):
            file, label = _columns(list(row), column, source)
            values = list(row.values())
            pair = [str(values[file]), values[label]]
        if not is_pair(pair):
            raise UserError(
                f'{source}: entry {number} must be {{"file": name, "label": ...}} or [name, label],'
                f" found {row!r:.80}; mend it"
            )
        pairs.append(pair)
    return pairs


def _csv_pairs(data: bytes, column: str, source: str) -> list[list[Any]]:
    try:
        text = data.decode("utf-8-sig")
        first = text.lstrip().partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{source}: is no readable CSV file in UTF-8 ({error}); mend it") from error
    numbered = [(i, [cell.strip() for cell in row]) for i, row in enumerate(rows, 1) if any(row)]
    if not numbered:
        return []
    header = numbered[0][1]
    known = {*FILE_COLUMNS, *LABEL_COLUMNS}
    file, label = 0, 1
    if any(cell.lower() in known or (cell and cell == column) for cell in header):
        file, label = _columns(header, column, source)
        del numbered[0]
    elif len(header) != 2:
        raise UserError(
            f"{source}: has {len(header)} columns and no header to tell them by; give it the "
            "header file,label, or only these two columns"
        )
    for number, row in numbered:
        if len(row) != len(header):
            raise UserError(
                f"{source}: row {number} has {len(row)} columns, the first has {len(header)}; "
                "mend it"
            )
    return [[row[file], row[label]] for _, row in numbered]


def _columns(header: list[str], column: str, source: str) -> tuple[int, int]:
    """Positions of the files' and the labels' columns."""
    lowered = [name.strip().lower() for name in header]
    if column and column not in header:
        raise UserError(
            f"--label-column {column}: {source} has no such column, it has {', '.join(header)}"
        )
    labels = [header.index(column)] if column else _first(lowered, LABEL_COLUMNS)
    files = [i for i in _first(lowered, FILE_COLUMNS) if i not in labels]
    if len(header) == 2:
        labels = labels or [1 - i for i in files]
        files = files or [1 - i for i in labels]
    if not files or not labels:
        what = "files; call it file" if not files else "labels; name it with --label-column"
        raise UserError(
            f"{source}: cannot tell which of the columns {', '.join(header)} holds the {what}"
        )
    return files[0], labels[0]


def _first(header: list[str], known: Sequence[str]) -> list[int]:
    """The position of the first of the `known` names that the header has, if any."""
    return [header.index(name) for name in known if name in header][:1]
