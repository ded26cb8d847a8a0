"""style_mixing.py: a matrix of pictures whose layers follow their row or their column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import complaint, exit_status
from picture_helpers import difference, made, manifest
from PIL import Image

import style_mixing
from dnnlib import UserError
from training.data.images import Pixels
from training.generation.style_mixing import MATRIX_CELL, mix, mixed_layers
from training.generation.synthesis import latents
from training.pictures import to_uint8
from training.snapshots import load_network

pytest_plugins = ["network_fixtures"]


def mixed(outdir: Path, network: Path, *options: object) -> dict[str, Pixels]:
    """Pictures by file name that style_mixing.py writes with these options."""
    arguments = ("--network", network, "--outdir", outdir, "--images", *options)
    assert exit_status(style_mixing.main, *arguments) == 0
    return {path.name: np.asarray(Image.open(path)) for path in outdir.glob("*.png")}


def test_mix_takes_the_layers_of_the_columns() -> None:
    rows = torch.arange(2.0)[:, None, None].expand(2, 4, 3)
    columns = 10 + torch.arange(3.0)[:, None, None].expand(3, 4, 3)
    ws = mix(rows, columns, [0, 2])
    assert ws.shape == (6, 4, 3)
    for index, w in enumerate(ws):
        row, column = divmod(index, 3)
        assert w[:, 0].tolist() == [10 + column, row, 10 + column, row]
        assert torch.equal(w, w[:, :1].expand(4, 3))
    assert rows.max() == 1  # the inputs are as they were


def test_pictures_are_those_of_mixed_styles(tmp_path: Path, network: Path) -> None:
    options = ("--rows", "1,5", "--cols", 2, "--styles", "1-2", "--row-class", "cat")
    found = mixed(tmp_path / "mixed", network, *options, "--col-class", "wild", "--trunc", 0.7)
    names = {"seed0001-cat.png", "seed0005-cat.png", "seed0002-wild.png"}
    names |= {"seed0001-cat_seed0002-wild.png", "seed0005-cat_seed0002-wild.png", "grid.png"}
    assert set(found) == names

    generator = load_network(str(network)).generator
    with torch.no_grad():
        row, column = (
            generator.mapping(latents([seed], generator.z_dim), torch.eye(3)[[label]], 0.7)
            for seed, label in ((5, 0), (2, 2))
        )
        ws = torch.cat([row[:, :1], column[:, 1:3], row[:, 3:]], dim=1)
        expected = to_uint8(generator.synthesis(ws, noise_mode="const"))[0, 0].numpy()
    assert difference(found["seed0005-cat_seed0002-wild.png"], expected) <= 1
    assert difference(found["seed0005-cat.png"], expected) > 3
    assert difference(found["seed0002-wild.png"], expected) > 3

    told = manifest(tmp_path / "mixed")["seed0005-cat_seed0002-wild.png"]
    assert told["row"] == {"seed": 5, "class": "cat"}
    assert told["column"] == {"seed": 2, "class": "wild"}
    assert (told["styles"], told["trunc"]) == ([1, 2], 0.7)
    assert Image.open(tmp_path / "mixed" / "grid.png").info["styles"] == "[1, 2]"


@pytest.mark.parametrize("noise_mode", ["const", "random"])
def test_parents_are_generated_pictures(tmp_path: Path, network: Path, noise_mode: str) -> None:
    options = ("--class", "dog,cat", "--noise-mode", noise_mode)
    single = made(tmp_path / "single", network, "--seeds", "3-4", *options)
    found = mixed(tmp_path / "mixed", network, "--rows", 3, "--cols", 4, *options, "--batch", 1)
    for name in ("seed0003-dog.png", "seed0003-cat.png", "seed0004-dog.png"):
        assert np.array_equal(found[name], single[name])


def test_all_layers_of_the_column_are_the_column(tmp_path: Path, network: Path) -> None:
    layers = load_network(str(network)).generator.num_ws
    options = ("--rows", 0, "--cols", 1, "--class", "dog", "--styles", f"0-{layers - 1}")
    found = mixed(tmp_path, network, *options)
    assert np.array_equal(found["seed0000-dog_seed0001-dog.png"], found["seed0001-dog.png"])


def test_matrix_shows_rows_columns_and_mixtures(tmp_path: Path, unconditional: Path) -> None:
    found = mixed(tmp_path, unconditional, "--rows", "0-1", "--cols", "2-4")
    width, height = 2 * MATRIX_CELL, MATRIX_CELL
    grid = found["grid.png"][-3 * height :, -4 * width :]  # without captions

    def cell(row: int, column: int) -> Pixels:
        whole = grid[row * height : (row + 1) * height, column * width : (column + 1) * width]
        return whole[:: MATRIX_CELL // 8, :: MATRIX_CELL // 8]

    assert not cell(0, 0).any()
    assert np.array_equal(cell(0, 2), found["seed0003.png"])
    assert np.array_equal(cell(2, 0), found["seed0001.png"])
    assert np.array_equal(cell(2, 3), found["seed0001_seed0004.png"])
    assert len(found) == 1 + 2 + 3 + 6


def test_only_the_matrix_is_written_unless_asked(tmp_path: Path, network: Path) -> None:
    assert exit_status(style_mixing.main, "--network", network, "--outdir", tmp_path / "a") == 0
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["grid.png"]


def test_layers() -> None:
    assert mixed_layers(None, 6) == [0, 1, 2]
    assert mixed_layers([4, 0, 4], 5) == [0, 4]
    with pytest.raises(UserError, match="--styles: the network has the layers 0 to 4, found 5"):
        mixed_layers([0, 5], 5)
    with pytest.raises(UserError, match="share one style"):
        mixed_layers(None, 1)


def test_wrong_options(tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*options: object) -> str:
        return complaint(capsys, style_mixing.main, "--network", network, *options)

    assert "--outdir" in said()
    there = ("--outdir", tmp_path / "out")
    assert "layers 0 to 5, found 6" in said(*there, "--styles", "3-6")
    assert "--class bird" in said(*there, "--row-class", "bird")
    assert "too many" in said(*there, "--rows", "0-99", "--cols", "0-99")
    assert not (tmp_path / "out").exists()
