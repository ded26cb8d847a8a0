"""Strips, mixtures on the way, what a video tells of itself, and frames that come as needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import exit_status
from picture_helpers import made
from PIL import Image

import interpolation
from training.data.images import Pixels
from training.generation.conditions import parse_conditions
from training.generation.journey import Journey
from training.generation.load import make_synthesizer
from training.generation.routes import Route, file_stem, plan_route
from training.generation.synthesis import StyleConfig, Synthesizer
from training.snapshots import load_network

pytest_plugins = ["network_fixtures"]


def interpolated(network: Path, outdir: Path, *options: object) -> Path:
    """The folder that interpolation.py has written into."""
    short = ("--seconds", 0.4, "--fps", 10, "--format", "frames")
    options = ("--network", network, "--outdir", outdir, *short, *options)
    assert exit_status(interpolation.main, *options) == 0
    return outdir


def strip_cells(path: Path, columns: int, rows: int = 1) -> list[list[Pixels]]:
    """The pictures of a strip of 16x16 images, four times as large."""
    strip = np.asarray(Image.open(path))
    assert strip.shape == (64 * rows, 64 * columns)
    small = strip[::4, ::4]
    assert np.array_equal(small.repeat(4, axis=0).repeat(4, axis=1), strip)
    return [np.hsplit(row, columns) for row in np.vsplit(small, rows)]


def test_strip_shows_steps_at_even_distances(tmp_path: Path, network: Path) -> None:
    folder = interpolated(network, tmp_path, "--classes", "cat,dog,wild", "--strip", 5)
    (cells,) = strip_cells(folder / "interpolation-cat-dog-wild-strip.png", 5)
    # Steps in w: the classes themselves and what lies half-way, whatever the video's easing.
    names = ["cat", "dog", "wild"]
    stations = made(tmp_path / "stations", network, "--seeds", 0, "--class", ",".join(names))
    for cell, name in zip(cells[::2], names, strict=True):
        assert np.array_equal(cell, stations[f"seed0000-{name}.png"])
    synthesizer = make_synthesizer(load_network(str(network)), torch.device("cpu"), StyleConfig())
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(0)).expand(3, -1)
    ws = synthesizer.styles(z, torch.eye(3))
    halves = synthesizer.render((ws[:2] + ws[1:]) / 2, [0, 0])
    for cell, half in zip(cells[1::2], halves, strict=True):
        assert np.abs(cell.astype(int) - half[0].numpy()).max() <= 1


def test_strip_has_a_row_for_each_cell_and_tells_how_it_was_made(
    tmp_path: Path, network: Path
) -> None:
    options = ("--classes", "cat,dog", "--strip", 3, "--grid", "2x1", "--seeds", 4, "--loop")
    path = interpolated(network, tmp_path, *options) / "interpolation-cat-dog-strip.png"
    rows = strip_cells(path, 3, rows=2)
    # A loop's steps end one before its beginning: cat, two thirds of the way to dog, and back.
    for row, seed in zip(rows, (4, 5), strict=True):
        (cat,) = made(tmp_path / f"{seed}", network, "--seeds", seed, "--class", "cat").values()
        assert np.array_equal(row[0], cat)
        assert np.abs(row[1].astype(int) - row[2]).max() <= 1  # symmetric
    text = Image.open(path).info
    assert (text["mode"], text["grid"], text["loop"]) == ("class", "2x1", "true")
    assert text["classes"] == '["cat", "dog"]' and text["seeds"] == "[4, 4]"


def test_a_video_tells_how_it_was_made(tmp_path: Path, network: Path) -> None:
    interpolated(network, tmp_path, "--classes", "cat,dog", "--format", "mp4", "--space", "z")
    data = (tmp_path / "interpolation-cat-dog.mp4").read_bytes()
    start = data.index(b'{"seeds"')
    facts, _ = json.JSONDecoder().raw_decode(data[start:].decode(errors="replace"))
    assert facts["classes"] == ["cat", "dog"] and facts["space"] == "z"
    assert facts["network"] == load_network(str(network)).digest


def test_mixtures_are_stations_too(tmp_path: Path, network: Path) -> None:
    options = ("--classes", "cat,dog:0.5+wild:0.5", "--seeds", 2, "--space", "z")
    folder = interpolated(network, tmp_path / "way", *options)
    frames = sorted((folder / "interpolation-cat-dog-0.5_wild-0.5").iterdir())
    (mixed,) = made(tmp_path / "mix", network, "--seeds", 2, "--class", "dog:0.5+wild:0.5").values()
    assert np.array_equal(np.asarray(Image.open(frames[-1])), mixed)


def test_class_embeddings_mix_with_the_latent_kept(network: Path) -> None:
    synthesizer = make_synthesizer(load_network(str(network)), torch.device("cpu"), StyleConfig())
    conditions = parse_conditions(load_network(str(network)).facts, ["cat", "wild"])
    journey = Journey(synthesizer, Route((7, 7), tuple(conditions)), space="z")
    (_, half, _) = journey.steps(3, "smooth", 16)
    expected = synthesizer.pictures([7], torch.tensor([[0.5, 0.0, 0.5]]))
    assert torch.equal(half, expected)


@pytest.mark.parametrize("grid", [(1, 1), (3, 2), (7, 3)])
def test_steps_are_made_when_they_are_asked_for(network: Path, grid: tuple[int, int]) -> None:
    rendered: list[int] = []

    class Counting(Synthesizer):
        def render(self, ws: torch.Tensor, noise_seeds: object) -> torch.Tensor:
            rendered.append(len(ws))
            return torch.zeros(len(ws), 1, 16, 16, dtype=torch.uint8)

    file = load_network(str(network))
    conditions = parse_conditions(file.facts, ["cat", "wild"])
    journey = Journey(
        Counting(file.generator, StyleConfig()), Route((0, 0), tuple(conditions)), grid
    )
    cells = grid[0] * grid[1]
    for number, step in enumerate(journey.steps(1000, "linear", 16), start=1):
        assert len(step) == cells
        assert sum(rendered) - number * cells < 16 + cells
    assert sum(rendered) == 1000 * cells


def test_names_of_files_stay_short(network: Path) -> None:
    facts = load_network(str(network)).facts
    chain = plan_route(facts, "class", ["cat", "dog", "wild", "cat", "dog"], None)
    assert file_stem(chain, "class") == "interpolation-cat-dog-wild-and2"
    latent = plan_route(facts, "latent", ["dog"], [3, 4])
    assert file_stem(latent, "latent") == "interpolation-dog-seed0003-seed0004"
