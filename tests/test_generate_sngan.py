"""What the scripts make of an SNGAN network: one style for all layers, and no per-pixel noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from explore_helpers import client, shown
from network_helpers import complaint, exit_status, tiny_config
from picture_helpers import made
from PIL import Image

import export
import projector
import style_mixing
from training.data.dataset import DataConfig
from training.generation.synthesis import latents
from training.options import make_config, resolve_options
from training.players import Players
from training.snapshots import load_network, save_network


@pytest.fixture(scope="module")
def sngan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained SNGAN network file with classes, 16x16 RGB."""
    small = {"channel_base": 128, "channel_max": 8, "latent_dim": 16, "embed_dim": 16}
    facts = tiny_config(num_channels=3).facts
    options = resolve_options("sngan32", small, facts.width, facts.height)
    config = make_config(options, DataConfig(path="none"), facts)
    path = tmp_path_factory.mktemp("sngan") / "net.safetensors"
    save_network(path, Players(config), config, nimg=5000)
    return path


@pytest.fixture
def dog(tmp_path: Path, sngan: Path) -> Path:
    """A dog that the network made."""
    made(tmp_path / "made", sngan, "--seeds", 3, "--class", "dog")
    return tmp_path / "made" / "seed0003-dog.png"


def test_a_saved_style_makes_the_same_picture(tmp_path: Path, sngan: Path) -> None:
    options = ("--seeds", 5, "--class", "wild", "--trunc", 0.6, "--save-w")
    first = made(tmp_path / "a", sngan, *options)
    again = made(tmp_path / "b", sngan, "--projected-w", tmp_path / "a" / "seed0005-wild.npz")
    assert np.array_equal(first["seed0005-wild.png"], again["seed0005-wild-0000.png"])


def test_noise_changes_nothing(tmp_path: Path, sngan: Path) -> None:
    plain, noisy, without = (
        made(tmp_path / mode, sngan, "--seeds", 4, "--class", "cat", "--noise-mode", mode)
        for mode in ("const", "random", "none")
    )
    assert np.array_equal(plain["seed0004-cat.png"], noisy["seed0004-cat.png"])
    assert np.array_equal(plain["seed0004-cat.png"], without["seed0004-cat.png"])


def test_there_are_no_styles_to_mix(
    tmp_path: Path, sngan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint(capsys, style_mixing.main, "--network", sngan, "--outdir", tmp_path / "out")
    assert "all layers of its generator share one style; nothing to mix" in line
    assert not (tmp_path / "out").exists()


def test_a_picture_is_projected(tmp_path: Path, sngan: Path, dog: Path) -> None:
    out = tmp_path / "out"
    options = ("--network", sngan, "--target", dog, "--outdir", out, "--steps", 5)
    assert exit_status(projector.main, *options, "--class", "dog") == 0
    again = made(tmp_path / "again", sngan, "--projected-w", out / "projected_w.npz")
    found = np.asarray(Image.open(out / "proj.png"))
    assert np.array_equal(again["projected_w-0000.png"], found)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--space", "w+"), "--space w+: all layers of the network share one style"),
        (("--noise-reg", 1e5), "--noise-reg: the network has no per-pixel noise"),
    ],
)
def test_a_projection_that_makes_no_sense(
    tmp_path: Path,
    sngan: Path,
    dog: Path,
    capsys: pytest.CaptureFixture[str],
    option: tuple[str, object],
    said: str,
) -> None:
    options = ("--network", sngan, "--target", dog, "--outdir", tmp_path / "out", "--class", "dog")
    assert said in complaint(capsys, projector.main, *options, *option)


def test_exported_files_make_the_same_images(tmp_path: Path, sngan: Path) -> None:
    z, c = latents(range(3), 16), torch.eye(3)
    with torch.no_grad():
        expected = load_network(str(sngan)).generator(z, c)
    for name in ("net.onnx", "net.pt2"):
        assert exit_status(export.main, "--network", sngan, "--out", tmp_path / name) == 0
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (images,) = session.run(None, {"z": z.numpy(), "c": c.numpy()})
    torch.testing.assert_close(torch.from_numpy(images), expected, atol=1e-4, rtol=0)
    program = torch.export.load(tmp_path / "net.pt2").module()
    torch.testing.assert_close(program(z, c), expected, atol=1e-4, rtol=0)


def test_the_page_knows_that_there_is_no_noise(tmp_path: Path, sngan: Path) -> None:
    page = client(sngan)
    assert page.get("/network").json()["noise"] is False
    assert len(shown(page, columns=3, first_class="cat", second_class="dog")) == 3
