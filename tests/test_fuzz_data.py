"""Data sets of random damage and malice: they are read, or refused in a line."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from bad_inputs.mutations import fuzzed, json_values, mutated, odd_numbers
from data_helpers import labelled, pillow_bytes, png, write_zip
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from dnnlib import UserError
from training.data.archive import ImageArchive
from training.data.images import MAX_PIXELS, decode_image
from training.data.label_lists import path_finder, read_table

NAMES = [f"00000/img{index:08d}.png" for index in range(3)]
PICTURES = {name: png(index, 4, 4, 1) for index, name in enumerate(NAMES)}


class InMemory:
    """Files of a data set without a disk."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self.names = sorted(files)

    def read(self, name: str) -> bytes:
        return self._files[name]

    def crc(self, name: str) -> int:
        return zlib.crc32(self._files[name])


def look_at(archive: ImageArchive) -> None:
    """Read all there is; what is there must be sound."""
    assert len(archive.digest()) == 64
    for index in range(len(archive)):
        pixels = archive.read(index)
        assert pixels.dtype == np.uint8 and pixels.shape == archive.shape
    labels = archive.labels
    if labels is not None:
        assert len(labels) == len(archive) and bool(np.isfinite(labels).all())
        if labels.ndim == 1:
            assert labels.min() >= 0 and labels.max() < len(archive.class_names)
        assert len(set(archive.class_names)) == len(archive.class_names)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_zip(
        tmp_path_factory.mktemp("whole") / "data.zip", labelled([0, 1, 1], ["a", "b"])
    ).read_bytes()


@fuzzed(80)
@given(data=st.data())
def test_damaged_zips(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    directory = [place for place in range(len(whole)) if whole.startswith(b"PK", place)]
    path = tmp_path / "data.zip"
    path.write_bytes(data.draw(mutated(whole, directory)))
    try:
        look_at(ImageArchive(path))
    except UserError as error:
        assert str(path) in str(error)


KINDS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


@fuzzed(120)
@given(kind=st.sampled_from(KINDS), mode=st.sampled_from(["L", "RGB"]), data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_images(kind: str, mode: str, data: st.DataObject) -> None:
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    whole = pillow_bytes(Image.fromarray(pixels).convert(mode), kind)
    try:
        decoded = decode_image(data.draw(mutated(whole, [0, 8, 16])), "a.png")
    except UserError as error:
        assert str(error).startswith("a.png: ")
    else:
        assert decoded.dtype == np.uint8 and decoded.ndim == 3 and decoded.shape[2] in {1, 3, 4}
        assert decoded.shape[0] * decoded.shape[1] <= MAX_PIXELS


labels = st.integers(-2, 9) | odd_numbers | st.lists(st.floats() | st.integers(), max_size=3)
names = st.sampled_from([*NAMES, *NAMES, *NAMES, "nothing.png", ""])
listings = st.lists(st.tuples(names, labels | json_values).map(list) | json_values, max_size=5)
class_names = st.none() | st.lists(st.text(max_size=4) | json_values, max_size=4)
nearly_right = st.fixed_dictionaries(
    {
        "labels": st.tuples(*[labels] * 3).map(
            lambda given: [*map(list, zip(NAMES, given, strict=True))]
        )
    },
    optional={"class_names": class_names},
)
contents = st.one_of(
    json_values,
    nearly_right,
    st.fixed_dictionaries(
        {"labels": listings | json_values}, optional={"class_names": class_names}
    ),
)


@fuzzed(150)
@given(contents.map(lambda content: json.dumps(content).encode()) | st.binary(max_size=30))
@example(b'{"labels": ' + b"[" * 5000)
@example(b'{"labels": [["00000/img00000000.png", ' + b"9" * 5000 + b"]]}")
def test_strange_dataset_json(content: bytes) -> None:
    try:
        look_at(ImageArchive("data", InMemory(PICTURES | {"dataset.json": content})))
    except UserError as error:
        assert str(error).startswith("data/dataset.json: ")


@fuzzed(80)
@given(listings.map(lambda content: json.dumps(content).encode()) | st.binary(max_size=30))
def test_strange_lists_beside_class_folders(content: bytes) -> None:
    try:
        look_at(ImageArchive("data", InMemory(PICTURES | {"list.json": content})))
    except UserError as error:
        assert str(error).startswith("data")


rows = st.lists(st.tuples(names, st.text(max_size=4) | st.integers().map(str)), max_size=5)
tables = rows.map(lambda pairs: "\n".join(",".join(pair) for pair in pairs).encode())


@fuzzed(80)
@given(
    content=tables | st.binary(max_size=40) | listings.map(lambda rows: json.dumps(rows).encode()),
    suffix=st.sampled_from([".csv", ".tsv", ".json", ".jsonl"]),
    column=st.sampled_from(["", "label"]),
)
def test_strange_tables_of_labels(tmp_path: Path, content: bytes, suffix: str, column: str) -> None:
    table = tmp_path / f"labels{suffix}"
    table.write_bytes(content)
    try:
        found = read_table(table, column, NAMES, path_finder(NAMES, ["", "00000/"]))
    except UserError as error:
        assert str(table) in str(error)
    else:
        assert len(found.values) == len(NAMES)


def test_a_file_without_a_name(tmp_path: Path) -> None:
    """Python's own reader stumbles over it (found by the test above)."""
    data = write_zip(tmp_path / "data.zip", {"a.png": png(1, 4, 4, 1)}).read_bytes()
    hidden = data.replace(b"a.png", b"\0.png")  # which ends the name
    (tmp_path / "data.zip").write_bytes(hidden)
    with pytest.raises(UserError, match="holds the unsafe name ''"):
        ImageArchive(tmp_path / "data.zip")


file_names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@fuzzed(60)
@given(st.lists(file_names, min_size=1, max_size=4, unique=True))
def test_strange_names_in_zips(tmp_path: Path, given_names: list[str]) -> None:
    path = tmp_path / "names.zip"
    write_zip(path, {f"{name}.png": png(1, 4, 4, 1) for name in given_names})
    try:
        archive = ImageArchive(path)
    except UserError as error:
        assert str(path) in str(error)
    else:
        look_at(archive)
        assert not any(".." in name.split("/") or name.startswith("/") for name in archive.names)
