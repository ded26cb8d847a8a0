"""How a picture was made: in its file, in manifest.jsonl, and in captions that can be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import complaint
from picture_helpers import made, manifest
from PIL import ExifTags, Image

import generate
from training.captions import column_captions, drawable, row_captions
from training.generation.conditions import ANYTHING, class_conditions
from training.generation.manifest import common_facts
from training.generation.plan import Plan, plan_pictures
from training.generation.synthesis import StyleConfig
from training.pictures import make_grid
from training.snapshots import load_network

pytest_plugins = ["network_fixtures"]


def test_png_tells_how_it_was_made(tmp_path: Path, network: Path) -> None:
    made(tmp_path, network, "--seeds", 12, "--class", 2, "--trunc", 0.7, "--noise-mode", "none")
    text = Image.open(tmp_path / "seed0012-wild.png").info
    assert text.pop("version").startswith("dudgan")
    assert text == {
        "seed": "12",
        "class": "wild",
        "trunc": "0.7",
        "trunc_center": "global",
        "noise_mode": "none",
        "precision": "fp32",
        "network": load_network(str(network)).digest,
    }


@pytest.mark.parametrize("picture_format", ["jpg", "webp"])
def test_other_formats_tell_the_same_in_exif(
    tmp_path: Path, unconditional: Path, picture_format: str
) -> None:
    made(tmp_path, unconditional, "--seeds", 3, "--format", picture_format)
    name = f"seed0003.{picture_format}"
    text = Image.open(tmp_path / name).getexif()[ExifTags.Base.ImageDescription]
    assert json.loads(text) == manifest(tmp_path)[name]
    assert json.loads(text)["seed"] == 3


def test_manifest_has_a_line_for_each_picture_and_the_last_one_counts(
    tmp_path: Path, network: Path
) -> None:
    common = common_facts(load_network(str(network)), StyleConfig(), "fp32")
    made(tmp_path, network, "--seeds", "4,2", "--class", "dog,cat", "--grid")
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    files = ["seed0004-dog.png", "seed0002-dog.png", "seed0004-cat.png", "seed0002-cat.png"]
    assert [record["file"] for record in found] == files
    assert found[1] == {"file": files[1], "seed": 2, "class": "dog", **common}
    made(tmp_path, network, "--seeds", 4, "--class", "dog", "--trunc", 0.5)
    again = manifest(tmp_path)
    assert list(again) == files
    assert (again[files[0]]["trunc"], again[files[2]]["trunc"]) == (0.5, 1.0)


def test_a_torn_line_of_the_manifest_does_not_spoil_the_next(tmp_path: Path, network: Path) -> None:
    whole = '{"file": "seed0009-dog.png", "seed": 9}'
    (tmp_path / "manifest.jsonl").write_text(whole + '\n{"file": "seed0004-dog.png", "se')
    made(tmp_path, network, "--seeds", 4, "--class", "dog")
    assert list(manifest(tmp_path)) == ["seed0009-dog.png", "seed0004-dog.png"]


def test_a_manifest_that_cannot_be_written(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.jsonl").mkdir()
    line = complaint(
        capsys, generate.main, "--network", network, "--outdir", tmp_path, "--seeds", 0
    )
    assert "manifest.jsonl: cannot be written" in line


def test_letters_that_the_font_lacks_are_replaced() -> None:
    assert drawable("cat 7-b_é") == "cat 7-b_e"
    assert drawable("日本") == "??"
    assert drawable("Süße Früchte") == drawable("Su\u0308ße Fru\u0308chte") == "Susse Fruchte"
    assert drawable("a\nb\uffff") == "a?b?"


def test_captions_of_rows_and_columns(network: Path) -> None:
    facts = load_network(str(network)).facts
    plan = plan_pictures(facts, [3, 9, 3], ["dog", "cat:0.5+wild:0.5"])
    assert (len(plan), plan.columns, plan.heads()) == (4, 2, ["3", "9"])
    assert plan.row_captions() == ["dog", "cat:0.5+wild:0.5"]
    named = facts.model_copy(update={"class_names": ("dög", "日", "x")})
    assert plan_pictures(named, [1], ["all"]).row_captions() == ["0 dog", "1 ?", "x"]
    drawn = Plan([0, 1, 2, 5, 77], draw=lambda seed: class_conditions(facts)[0])
    assert (drawn.columns, drawn.heads()) == (3, [])
    assert drawn.row_captions() == ["0 to 2", "5, 77"]
    assert Plan([4], draw=lambda seed: ANYTHING).row_captions() == ["4"]


def test_captions_stand_beside_their_rows_and_columns() -> None:
    images = torch.full((6, 3, 40, 40), 100, dtype=torch.uint8)
    grid = make_grid(images, 3, ["", "x"], heads=["", "", "8"])
    height, width = grid.shape[0] - 80, grid.shape[1] - 120
    assert (grid[height:, width:] == 100).all()
    ink = grid.max(axis=2) > 128
    ink[height:, width:] = False
    rows, columns = np.nonzero(ink[:, :width])
    assert height + 40 < rows.min() and rows.max() < height + 80
    rows, columns = np.nonzero(ink[:height])
    assert width + 80 < columns.min() and columns.max() < width + 120


def test_captions_higher_than_the_rows() -> None:
    images = torch.full((2, 4, 32, 32), 100, dtype=torch.uint8)
    grid = make_grid(images, 2, ["a"], heads=["4294967295", "1"])
    assert grid.shape[0] > 3 * 32 and (grid[-32:, -64:] == 100).all()
    assert (grid[:-32, :, 3] == 255).all() and not grid[:-32, :-64, :3].any()


def test_wide_captions_of_columns_are_turned() -> None:
    flat = column_captions(["1", "2"], 40)
    turned = column_captions(["4294967295", "2"], 40)
    assert flat.shape[1] == turned.shape[1] == 80
    assert turned.shape[0] > 2 * flat.shape[0]
    # Read upwards: turning back gives the caption as a row has it, flush left.
    row = row_captions(["4294967295"], 40)
    assert np.array_equal(np.rot90(turned, k=-1)[:40], row)
