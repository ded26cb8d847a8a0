"""Classes that nobody chose are drawn as often as the training data has them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from data_helpers import labelled, write_zip
from explore_helpers import client, shown
from network_helpers import CLASSES, complaint, exit_status, tiny_config, write_network
from picture_helpers import made
from scipy.stats import chisquare

import generate
from dnnlib import UserError
from training.config import DataFacts, TrainingConfig
from training.data.archive import ImageArchive
from training.data.dataset import DataConfig, open_dataset
from training.generation import load_generator
from training.generation.class_draw import class_drawer
from training.generation.conditions import ANYTHING
from training.options import data_facts

pytest_plugins = ["network_fixtures"]

COUNTS = (15, 80, 5)  # of cat, dog, wild


def with_counts(counts: tuple[int, ...]) -> TrainingConfig:
    """A network that knows how many images of each class it was trained on."""
    config = tiny_config()
    facts = {"class_counts": counts, "num_images": sum(counts)}
    return config.model_copy(update={"facts": config.facts.model_copy(update=facts)})


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network file of uneven training data."""
    path = tmp_path_factory.mktemp("network") / "uneven.safetensors"
    return write_network(path, with_counts(COUNTS))


def labels_of(archive: ImageArchive) -> list[int]:
    """The classes of a data set."""
    assert archive.labels is not None
    found: list[int] = archive.labels.tolist()
    return found


def data_set(path: Path, network: Path, *options: object) -> list[int]:
    """Classes in the data set that generate.py makes."""
    assert exit_status(generate.main, "--network", network, "--out", path, *options) == 0
    return labels_of(ImageArchive(path))


@pytest.mark.parametrize("counts", [(), COUNTS, (0, 3, 1)])
def test_seeds_draw_in_proportion(counts: tuple[int, ...]) -> None:
    draw = class_drawer(tiny_config().facts, counts)
    drawn = Counter(draw(seed).name for seed in range(6000))
    shares = np.array(counts or (1, 1, 1)) / sum(counts or (1, 1, 1))
    found = np.array([drawn[name] for name in CLASSES])
    assert not found[shares == 0].any()
    possible = shares > 0
    assert chisquare(found[possible], 6000 * shares[possible]).pvalue > 1e-3


def test_without_classes_every_seed_shows_anything() -> None:
    assert class_drawer(tiny_config(class_names=()).facts)(7) is ANYTHING


def test_a_data_set_has_the_proportions_of_the_training_data(
    tmp_path: Path, uneven: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = data_set(tmp_path / "a.zip", uneven, "--count", 300)
    assert "each seed draws its own, as often as in the training data" in capsys.readouterr().out
    found = [labels.count(label) for label in range(3)]
    assert chisquare(found, 3 * np.array(COUNTS)).pvalue > 1e-3
    assert data_set(tmp_path / "b.zip", uneven, "--seeds", "298,5") == [labels[298], labels[5]]


def test_python_and_the_page_draw_the_same(tmp_path: Path, uneven: Path) -> None:
    files = list(made(tmp_path, uneven, "--seeds", "0-7"))
    assert list(shown(client(uneven), columns=8)) == files
    generator = load_generator(str(uneven), device="cpu")
    names = [file.removesuffix(".png").split("-")[1] for file in files]
    assert generator(range(8)).equal(generator(range(8), classes=names))


def test_training_data_need_not_be_named(tmp_path: Path, uneven: Path, network: Path) -> None:
    # The same data, its classes numbered in another way.
    order = ["wild", "cat", "dog"]
    numbers: list[object] = [
        order.index(n) for n in CLASSES for _ in range(COUNTS[CLASSES.index(n)])
    ]
    data = write_zip(tmp_path / "data.zip", labelled(numbers, order))
    named = data_set(tmp_path / "a.zip", network, "--count", 60, "--labels-of", data)
    assert named == data_set(tmp_path / "b.zip", uneven, "--count", 60)


def test_networks_that_do_not_know_draw_evenly(
    tmp_path: Path, uneven: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = json.loads(with_counts(()).to_json())
    del saved["facts"]["class_counts"]
    old = TrainingConfig.from_json(json.dumps(saved), "old")
    path = write_network(tmp_path / "old.safetensors", old)
    capsys.readouterr()
    labels = data_set(tmp_path / "a.zip", path, "--count", 60)
    assert "each seed draws its own, all equally often" in capsys.readouterr().out
    assert min(labels.count(label) for label in range(3)) >= 10


def test_data_are_counted_as_training_sees_them(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", labelled([0, 1, 1, 2, 1], list(CLASSES)))
    facts = data_facts(open_dataset(DataConfig(path=str(path), mirror=True)))
    assert (facts.class_counts, facts.num_images) == ((2, 6, 2), 10)
    plain = data_facts(open_dataset(DataConfig(path=str(path), use_labels=False)))
    assert (plain.class_counts, plain.num_images) == ((), 5)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([50, 50], "class_counts must be one for each of 3 classes"),
        ([50, 50, 1], r"class_counts must add up to num_images \(100\)"),
        ([150, -50, 0], r"class_counts\.1: .* greater than or equal to 0"),
    ],
)
def test_counts_that_cannot_be(counts: list[int], said: str) -> None:
    facts = json.loads(tiny_config().facts.to_json()) | {"class_counts": counts}
    with pytest.raises(UserError, match=said):
        DataFacts.from_json(json.dumps(facts), "net")


def test_labels_of_a_network_without_classes(
    tmp_path: Path, unconditional: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_zip(tmp_path / "a.zip", labelled([0, 1], ["a", "b"]))
    options = ("--network", unconditional, "--outdir", tmp_path / "out", "--labels-of", data)
    assert "has 2 classes, the network has none" in complaint(capsys, generate.main, *options)
