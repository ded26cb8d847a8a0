"""generate.py --out: generated pictures as a data set."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import complaint, exit_status
from picture_helpers import made

import dataset_tool
import generate
from training.data.archive import ImageArchive
from training.generation.conditions import class_conditions
from training.generation.generated_data import write_data
from training.generation.picture_stream import Picture
from training.snapshots import load_network

pytest_plugins = ["network_fixtures"]


def data_set(path: Path, network: Path, *options: object) -> ImageArchive:
    """The data set that generate.py writes with these options."""
    assert exit_status(generate.main, "--network", network, "--out", path, *options) == 0
    return ImageArchive(path)


def test_data_set_holds_the_pictures_and_their_classes(tmp_path: Path, network: Path) -> None:
    archive = data_set(tmp_path / "new" / "a.zip", network, "--count", 20, "--trunc", 0.8)
    pictures = made(tmp_path / "folder", network, "--seeds", "0-19", "--trunc", 0.8)
    assert len(archive) == 20 and archive.class_names == ("cat", "dog", "wild")
    assert archive.labels is not None
    by_seed = {int(name[4:8]): (name, picture) for name, picture in pictures.items()}
    for index in range(20):
        name, picture = by_seed[index]
        assert archive.class_names[archive.labels[index]] in name
        assert np.array_equal(archive.read(index)[:, :, 0], picture)
    assert exit_status(dataset_tool.main, "--check", tmp_path / "new" / "a.zip") == 0


def test_data_set_tells_how_it_was_made(tmp_path: Path, network: Path) -> None:
    data_set(tmp_path / "a.zip", network, "--seeds", "7,3", "--class", "dog,cat", "--trunc", 0.5)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        content = json.loads(archive.read("dataset.json"))
    assert [label for _, label in content["labels"]] == [1, 1, 0, 0]
    generated = content["generated"]
    assert generated["seeds"] == [7, 3, 7, 3] and generated["trunc"] == 0.5
    assert generated["network"] == load_network(str(network)).digest


def test_equal_calls_give_equal_bytes(tmp_path: Path, network: Path) -> None:
    for name, batch in (("a.zip", 1), ("b.zip", 16)):
        data_set(tmp_path / name, network, "--count", 18, "--batch", batch)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("picture_format", ["jpg", "webp"])
def test_formats_without_classes(tmp_path: Path, unconditional: Path, picture_format: str) -> None:
    options = ("--count", 3, "--format", picture_format)
    archive = data_set(tmp_path / "a.zip", unconditional, *options)
    assert archive.labels is None and archive.shape == (8, 16, 3)
    assert archive.names[2] == f"00000/img00000002.{picture_format}"


def test_mixtures_make_label_vectors(tmp_path: Path, network: Path) -> None:
    options = ("--seeds", 0, "--class", "dog,dog:0.25+wild:0.75")
    archive = data_set(tmp_path / "a.zip", network, *options)
    assert archive.labels is not None
    assert archive.labels.tolist() == [[0, 1, 0], [0, 0.25, 0.75]]


def test_wrong_places_and_options(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*options: object) -> str:
        return complaint(capsys, generate.main, "--network", network, *options)

    taken = tmp_path / "taken.zip"
    taken.write_bytes(b"mine")
    assert "is there already" in said("--out", taken)
    assert taken.read_bytes() == b"mine"
    assert "must end in .zip" in said("--out", tmp_path / "folder")
    assert "give --outdir, not --out" in said("--out", tmp_path / "a.zip", "--grid")
    assert "give --outdir, not --out" in said("--out", tmp_path / "a.zip", "--save-w")
    assert "cannot be written" in said("--out", taken / "a.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.zip"]


def test_an_interruption_leaves_nothing(tmp_path: Path, network: Path) -> None:
    def pictures() -> Iterator[Picture]:
        raise KeyboardInterrupt
        yield

    facts = load_network(str(network)).facts
    with pytest.raises(KeyboardInterrupt):
        write_data(tmp_path / "a.zip", pictures(), facts, "png", {})
    assert not list(tmp_path.iterdir())


def test_pictures_do_not_pile_up_in_memory(tmp_path: Path, network: Path) -> None:
    facts = load_network(str(network)).facts
    (condition, *_) = class_conditions(facts)
    noise = torch.Generator().manual_seed(0)

    def pictures(count: int) -> Iterator[Picture]:
        for seed in range(count):
            pixels = torch.randint(256, (1, 64, 64), generator=noise, dtype=torch.uint8)
            image = torch.from_numpy(pixels.numpy().copy())  # numpy's memory is traced
            yield Picture("a", image, torch.empty(0), condition, {"seed": seed})

    def peak(count: int) -> int:
        tracemalloc.start()
        write_data(tmp_path / f"{count}.zip", pictures(count), facts, "png", {})
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    few, many = peak(100), peak(1000)
    # A picture is 4 KiB, raw or packed; what grows are names, labels and the zip's directory.
    assert many - few < 900 * 4096 / 2
