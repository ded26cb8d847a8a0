"""Classes and mixtures of them: what users type, and what the network is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import complaint, tiny_config, write_network
from picture_helpers import difference, made, manifest

import generate
from dnnlib import UserError
from training.config import DataFacts
from training.generation.conditions import as_tensor, class_conditions, parse_conditions
from training.generation.synthesis import StyleConfig, Synthesizer
from training.snapshots import load_network

pytest_plugins = ["network_fixtures"]


def facts(*names: str) -> DataFacts:
    """Of a network with these classes."""
    return tiny_config(names).facts


def vector(text: str, *names: str) -> list[float]:
    """The label vector that `text` stands for among these classes."""
    (condition,) = parse_conditions(facts(*names), [text])
    rounded: list[float] = as_tensor([condition], len(names))[0].tolist()
    return [round(weight, 6) for weight in rounded]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dog", [0, 1, 0]),
        ("2", [0, 0, 1]),
        ("dog:0.7+cat:0.3", [0.3, 0.7, 0]),
        (" dog : 0.7 + 0 : 0.3 ", [0.3, 0.7, 0]),
        ("cat+wild", [0.5, 0, 0.5]),
        ("dog:1.5+wild:-0.5", [0, 1.5, -0.5]),
        ("dog:2", [0, 2, 0]),
        ("wild:1e-3+1:1", [0, 1, 0.001]),
    ],
)
def test_texts_are_label_vectors(text: str, expected: list[float]) -> None:
    assert vector(text, "cat", "dog", "wild") == pytest.approx(expected)


def test_names_that_look_like_mixtures_are_names() -> None:
    assert vector("a+b", "a+b", "a", "b") == [1, 0, 0]
    assert vector("a:1", "a:1", "a") == [1, 0]
    assert vector("all", "all", "none") == [1, 0]


def test_all_stands_for_every_class_in_its_place() -> None:
    network = facts("cat", "dog", "wild")
    chosen = parse_conditions(network, ["wild", "all"])
    assert [condition.name for condition in chosen] == ["wild", "cat", "dog", "wild"]
    assert chosen[1:] == class_conditions(network)
    assert [condition.label for condition in chosen] == [2, 0, 1, 2]


def test_a_mixture_tells_how_to_ask_for_it_again() -> None:
    network = facts("cat", "big dog", "wild")
    (mixed,) = parse_conditions(network, ["big dog:0.25+wild:0.75"])
    assert (mixed.name, mixed.stem) == ("big dog:0.25+wild:0.75", "big_dog-0.25_wild-0.75")
    assert mixed.label is None
    assert parse_conditions(network, [mixed.name]) == [mixed]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dog:x+cat:1", "weights are numbers up to 1000000, as in dog:0.7+cat:0.3, found 'x'"),
        ("dog:nan", "found 'nan'"),
        ("dog:1+cat", "give each class of a mixture its weight, or none"),
        ("dog+1", "takes each class once"),
        ("dog+cow", "--class cow: no such class"),
        ("dog+", "a mixture such as dog+cat has a class on both sides"),
        ("dog:1+cat:2e6", "found '2e6'"),
        ("dog:0.5+cow:0.5", "--class cow: no such class"),
    ],
)
def test_wrong_mixtures(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("+", r"\+")):
        parse_conditions(facts("cat", "dog", "wild"), [text])


def test_a_mixture_is_the_network_under_the_mixed_vector(tmp_path: Path, network: Path) -> None:
    pictures = made(tmp_path, network, "--seeds", 5, "--class", "dog,dog:0.5+cat:0.5,cat,dog:1")
    assert list(pictures) == [
        "seed0005-cat.png",
        "seed0005-dog-0.5_cat-0.5.png",
        "seed0005-dog-1.png",
        "seed0005-dog.png",
    ]
    mixed = pictures["seed0005-dog-0.5_cat-0.5.png"]
    assert np.array_equal(pictures["seed0005-dog-1.png"], pictures["seed0005-dog.png"])
    assert min(difference(mixed, pictures[f"seed0005-{name}.png"]) for name in ("cat", "dog")) > 10
    synthesizer = Synthesizer(load_network(str(network)).generator, StyleConfig())
    expected = synthesizer.pictures([5], torch.tensor([[0.5, 0.5, 0.0]]))
    assert difference(mixed, expected[0, 0].numpy()) <= 1
    assert manifest(tmp_path)["seed0005-dog-0.5_cat-0.5.png"]["class"] == "dog:0.5+cat:0.5"


def test_seeds_draw_classes_as_often_as_a_data_set_has_them(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for name, count in (("cat", 1), ("dog", 6), ("wild", 1)):
        made(data / name, network, "--seeds", f"0-{count - 1}", "--class", name)
    capsys.readouterr()
    options = ("--seeds", "0-79", "--labels-of", data)
    made(tmp_path / "out", network, *options)
    assert f"as often as in {data}" in capsys.readouterr().out
    drawn = [record["class"] for record in manifest(tmp_path / "out").values()]
    counts = {name: drawn.count(name) for name in ("cat", "dog", "wild")}
    assert 45 <= counts["dog"] <= 75 and min(counts.values()) > 0
    made(tmp_path / "later", network, "--seeds", "7", "--labels-of", data)
    (later,) = manifest(tmp_path / "later").values()
    assert later["class"] == drawn[7]


def test_labels_of_other_data_are_refused(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_network(tmp_path / "net.safetensors", tiny_config(["a", "b"]))
    for name in ("a", "b"):
        made(tmp_path / "data" / name, other, "--seeds", "0", "--class", name)
    options = ("--network", network, "--outdir", tmp_path / "out")
    line = complaint(capsys, generate.main, *options, "--labels-of", tmp_path / "data")
    assert "has 2 classes, the network has 3" in line
