"""generate.py, and the pictures that all scripts and the training loop draw."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import CLASSES, complaint, exit_status, tiny_config, write_network
from picture_helpers import difference, made
from PIL import Image

import generate
from dnnlib import UserError
from training.generation.class_names import file_names
from training.generation.synthesis import StyleConfig, Synthesizer, latents, random_classes
from training.pictures import make_grid, save_image, to_uint8
from training.snapshots import load_network

pytest_plugins = ["network_fixtures"]


@pytest.mark.parametrize("noise_mode", ["const", "random"])
def test_a_seed_gives_the_same_image_whatever_the_batch(
    tmp_path: Path, network: Path, noise_mode: str
) -> None:
    options = ("--seeds", "0-3,2,9", "--noise_mode", noise_mode)
    one = made(tmp_path / "one", network, *options, "--batch", 1)
    all_at_once = made(tmp_path / "all", network, *options, "--batch", 40)
    later = made(tmp_path / "later", network, "--seeds", 9, "--noise-mode", noise_mode)
    assert len(one) == 5 and one.keys() == all_at_once.keys()
    assert all(np.array_equal(one[name], all_at_once[name]) for name in one)
    assert all(np.array_equal(one[name], later[name]) for name in later)
    pictures = list(one.values())
    assert min(difference(pictures[0], other) for other in pictures[1:]) > 30


def test_noise_modes_differ_and_random_noise_differs_between_images(
    tmp_path: Path, network: Path
) -> None:
    options = ("--seeds", "0-1", "--class", "dog", "--trunc", 0)
    by_mode = {
        mode: list(made(tmp_path / mode, network, *options, "--noise-mode", mode).values())
        for mode in ("const", "random", "none")
    }
    assert difference(by_mode["none"][0], by_mode["none"][1]) <= 1
    assert difference(by_mode["const"][0], by_mode["const"][1]) <= 1
    assert difference(by_mode["random"][0], by_mode["random"][1]) > 5
    assert difference(by_mode["const"][0], by_mode["none"][0]) > 5
    assert difference(by_mode["const"][0], by_mode["random"][0]) > 5


def test_latents_follow_the_seed_alone() -> None:
    torch.manual_seed(1)
    z = latents([7, 3], 16)
    torch.manual_seed(2)
    assert torch.equal(latents([3], 16)[0], z[1])
    assert torch.equal(torch.randn(16, generator=torch.Generator().manual_seed(7)), z[0])


def test_random_noise_leaves_the_global_generator_and_the_network_alone(network: Path) -> None:
    generator = load_network(str(network)).generator
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    state = torch.get_rng_state()
    Synthesizer(generator, StyleConfig(noise_mode="random")).pictures([1, 2], torch.tensor([0, 1]))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], now) for name, now in generator.state_dict().items())


def test_classes_by_name_number_list_and_all(tmp_path: Path, network: Path) -> None:
    by_name = made(tmp_path / "name", network, "--seeds", 3, "--class", "dog")
    by_number = made(tmp_path / "number", network, "--seeds", 3, "--class", 1)
    assert list(by_name) == ["seed0003-dog.png"]
    assert np.array_equal(by_name["seed0003-dog.png"], by_number["seed0003-dog.png"])
    listed = made(tmp_path / "list", network, "--seeds", 3, "--class", "wild, cat,2")
    assert list(listed) == ["seed0003-cat.png", "seed0003-wild.png"]
    every = made(tmp_path / "all", network, "--seeds", "3,4", "--class", "all")
    assert list(every) == [f"seed000{seed}-{name}.png" for seed in (3, 4) for name in CLASSES]
    assert np.array_equal(every["seed0003-dog.png"], by_name["seed0003-dog.png"])
    assert difference(every["seed0003-dog.png"], every["seed0003-cat.png"]) > 30


def test_without_a_class_the_seed_draws_one(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = made(tmp_path / "many", network, "--seeds", "0-11")
    assert {name.split("-")[1] for name in pictures} == {f"{name}.png" for name in CLASSES}
    assert "each seed draws its own" in capsys.readouterr().out
    (alone,) = made(tmp_path / "alone", network, "--seeds", 5)
    assert alone in pictures
    assert sorted(random_classes(3, 3, seed=0)) == [0, 1, 2]
    drawn = random_classes(2, 5, seed=0)
    assert all(a != b for a, b in pairwise(drawn))


def test_truncation_to_nothing_leaves_the_centre(tmp_path: Path, network: Path) -> None:
    options = ("--seeds", "0-2", "--class", "all", "--trunc", 0, "--trunc-center")
    by_class = made(tmp_path / "class", network, *options, "class")
    assert all(
        difference(picture, by_class[f"seed0000-{name[9:]}"]) <= 1
        for name, picture in by_class.items()
    )
    assert difference(by_class["seed0000-cat.png"], by_class["seed0000-dog.png"]) > 30
    anywhere = list(made(tmp_path / "global", network, *options, "global").values())
    assert all(difference(picture, anywhere[0]) <= 1 for picture in anywhere)


def test_grid_has_a_row_for_each_class(tmp_path: Path, network: Path) -> None:
    options = ("--seeds", "0-4", "--class", "wild,cat")
    pictures = made(tmp_path / "grid", network, *options, "--grid")
    grid = pictures["grid.png"]
    assert grid.ndim == 2 and grid.shape[0] > 2 * 32 and grid.shape[1] > 5 * 32
    cell = grid[-32::2, -32::2]  # enlarged twice; the last seed of the second class
    assert np.array_equal(cell, pictures["seed0004-cat.png"])
    assert grid[-64:, : -5 * 32].max() > 100  # classes
    assert grid[:-64, -32:].max() > 100  # seeds
    assert "grid.png" not in made(tmp_path / "none", network, *options, "--grid", "no")
    assert "grid.png" in made(tmp_path / "value", network, *options, "--grid=true")


def test_unconditional_network(tmp_path: Path, unconditional: Path) -> None:
    pictures = made(tmp_path / "out", unconditional, "--seeds", "0-4", "--grid")
    assert list(pictures) == ["grid.png", *(f"seed000{seed}.png" for seed in range(5))]
    assert pictures["seed0000.png"].shape == (8, 16, 3)
    grid = pictures["grid.png"]
    assert grid.shape[0] == 2 * 32 and grid.shape[1] > 3 * 64
    assert grid[:, : -3 * 64].max() > 100  # the seeds of the rows
    assert not grid[32:, -64:].any()


def test_list_classes(
    network: Path, unconditional: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(generate.main, "--network", network, "--list-classes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["0", "cat"], ["1", "dog"], ["2", "wild"]]
    assert exit_status(generate.main, "--network", unconditional, "--list-classes") == 0
    assert "without classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--class", "cow"), "--class cow: no such class"),
        (("--class", "3"), "--class 3: no such class"),
        (("--class", "-1"), "--class -1: no such class"),
        (("--class", "dog,"), "names separated by commas"),
        (("--seeds", "5-3"), "runs backwards"),
        (("--seeds", "x"), "numbers and ranges"),
        (("--trunc", "nan"), "finite number"),
        (("--batch", "0"), "0 is not in the range"),
        (("--format", "bmp"), "'bmp' is not one of"),
        (("--grid", "--seeds", "0-299999", "--class", "dog"), "--grid: 300000 images"),
        (("--seeds", "3", "--count", "4"), "--seeds, --count and --projected-w: one of them"),
        (("--count", "0"), "0 is not in the range"),
        (("--class", "dog", "--labels-of", "x"), "--labels-of: draws the classes"),
        (("--labels-of", "no-such.zip"), "no-such.zip: there is no such file"),
        (("--cuda-graphs", "--device", "cpu"), "--cuda-graphs: only CUDA devices have them"),
        (("--precision", "fp16", "--device", "cpu"), "--precision fp16: only CUDA devices"),
    ],
)
def test_wrong_options(
    tmp_path: Path,
    network: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    said: str,
) -> None:
    outdir = tmp_path / "out"
    line = complaint(capsys, generate.main, "--network", network, "--outdir", outdir, *options)
    assert said in line and not outdir.exists()


def test_wrong_networks_and_places(
    tmp_path: Path, network: Path, unconditional: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truncated, other = tmp_path / "truncated.safetensors", tmp_path / "other.safetensors"
    truncated.write_bytes(network.read_bytes()[:3000])
    other.write_bytes(b"PK not a network")
    (tmp_path / "run").mkdir()
    there = ("--outdir", tmp_path / "out")
    for path, said in [
        (truncated, "not a readable safetensors file"),
        (other, "not a readable safetensors file"),
        (tmp_path / "run", "holds no network-snapshot"),
        (tmp_path / "none", "no such file or folder"),
    ]:
        assert said in complaint(capsys, generate.main, "--network", path, *there)
    plain = ("--network", unconditional, *there)
    assert "without classes" in complaint(capsys, generate.main, *plain, "--class", "all")
    assert "without classes" in complaint(capsys, generate.main, *plain, "--trunc-center", "class")
    assert "give --outdir" in complaint(capsys, generate.main, "--network", network)
    both = ("--network", network, *there, "--out", tmp_path / "out.zip")
    assert "give --outdir" in complaint(capsys, generate.main, *both)
    onto_file = ("--network", network, "--outdir", truncated)
    assert "cannot be written" in complaint(capsys, generate.main, *onto_file)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_device_that_is_not_there(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--network", network, "--outdir", tmp_path / "out", "--device", "cuda")
    assert "--device cuda" in complaint(capsys, generate.main, *options)


def test_file_names_are_safe_and_differ() -> None:
    assert file_names(["dog", "a/b c", "..", "übel"]) == ["dog", "a_b_c", "..", "übel"]
    assert file_names(["a/b", "A_b", "x" * 90]) == ["0-a_b", "1-A_b", "2-" + "x" * 40]


def test_class_with_an_unsafe_name(tmp_path: Path) -> None:
    source = write_network(tmp_path / "net.safetensors", tiny_config(["../evil", "日本"]))
    pictures = made(tmp_path / "out", source, "--seeds", 0, "--class", "all", "--grid")
    assert list(pictures) == ["grid.png", "seed0000-.._evil.png", "seed0000-日本.png"]
    assert Image.open(tmp_path / "out" / "seed0000-日本.png").info["class"] == "日本"


def test_pixels_round_to_nearest() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_uint8(levels.float() / 127.5 - 1), levels)
    beyond = torch.tensor([-9.0, -1.0, 0.0039, 1.0, 9.0]).reshape(1, 1, 1, 5)
    assert to_uint8(beyond).flatten().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grids_and_files_keep_the_pixels(tmp_path: Path, channels: int) -> None:
    fixed = torch.Generator().manual_seed(0)
    images = torch.randint(256, (5, channels, 6, 4), generator=fixed, dtype=torch.uint8)
    grid = make_grid(images, columns=2, min_cell=8)
    assert grid.shape == (3 * 12, 2 * 8, channels)
    assert np.array_equal(grid[12:24:2, 8::2], images[3].permute(1, 2, 0).numpy())
    assert not grid[24:, 8:].any()
    captioned = make_grid(images, 2, ["a", "b" * 99, "c"], min_cell=8)
    assert np.array_equal(captioned[:, -16:], grid) and captioned.shape[1] < 400
    save_image(tmp_path / "grid.png", grid)
    found = np.asarray(Image.open(tmp_path / "grid.png"))
    assert np.array_equal(found.reshape(grid.shape), grid)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_pictures_that_a_format_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="transparency"):
        save_image(tmp_path / "a.jpg", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(UserError, match="16384x1 pixels are more than webp"):
        save_image(tmp_path / "a.webp", np.zeros((1, 16384, 3), np.uint8))
    assert not list(tmp_path.iterdir())
