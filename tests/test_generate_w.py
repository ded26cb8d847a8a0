"""Styles in files: --save-w and --projected-w."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import complaint
from picture_helpers import difference, made, manifest
from safetensors.numpy import save_file

import generate
from dnnlib.files import sha256_file
from training.snapshots import load_network

pytest_plugins = ["network_fixtures"]


@pytest.fixture
def w_file(tmp_path: Path, network: Path) -> Path:
    """The style of seed 3, dog, truncated."""
    options = ("--seeds", 3, "--class", "dog", "--trunc", 0.6, "--save-w")
    made(tmp_path / "saved", network, *options)
    return tmp_path / "saved" / "seed0003-dog.npz"


def test_a_saved_style_makes_the_same_picture(tmp_path: Path, network: Path, w_file: Path) -> None:
    (saved,) = made(
        tmp_path / "before", network, "--seeds", 3, "--class", "dog", "--trunc", 0.6
    ).values()
    again = made(tmp_path / "again", network, "--projected-w", w_file, "--grid")
    assert list(again) == ["grid.png", "seed0003-dog-0000.png"]
    assert np.array_equal(again["seed0003-dog-0000.png"], saved)
    record = manifest(tmp_path / "again")["seed0003-dog-0000.png"]
    assert (record["w"], record["index"]) == (sha256_file(w_file), 0)
    assert "seed" not in record and "class" not in record


def test_saved_style_is_the_truncated_one(network: Path, w_file: Path) -> None:
    with np.load(w_file) as file:
        assert file.files == ["w"]
        w = file["w"]
    generator = load_network(str(network)).generator
    z = torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = generator.mapping(z, torch.eye(3)[1:2], 0.6)
    assert w.dtype == np.float32
    np.testing.assert_allclose(w, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_all_kinds_of_files_and_shapes(tmp_path: Path, network: Path, w_file: Path) -> None:
    with np.load(w_file) as file:
        w = file["w"]
    np.savez(tmp_path / "double.npz", w=w.astype(np.float64), other=np.zeros(3))
    np.save(tmp_path / "plain.npy", w[0])
    np.save(tmp_path / "single.npy", w[0, 0])
    np.save(tmp_path / "three.npy", np.concatenate([w, 0 * w, w]))
    save_file({"w": w}, tmp_path / "tensors.safetensors")
    names = ("double.npz", "plain.npy", "single.npy", "tensors.safetensors", "three.npy")
    found = {name: made(tmp_path / "out" / name, network, "--projected-w", tmp_path / name)
             for name in names}  # fmt: skip
    assert list(found["three.npy"]) == [f"three-000{index}.png" for index in range(3)]
    expected = found["double.npz"]["double-0000.png"]
    for name in names:
        assert np.array_equal(next(iter(found[name].values())), expected)
    assert np.array_equal(found["three.npy"]["three-0002.png"], expected)
    assert difference(found["three.npy"]["three-0001.png"], expected) > 10


def test_wrong_files_and_options(
    tmp_path: Path, network: Path, w_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(file: Path, *options: object) -> str:
        plain = ("--network", network, "--outdir", tmp_path / "out", "--projected-w", file)
        return complaint(capsys, generate.main, *plain, *options)

    def saved(name: str, array: object) -> Path:
        np.save(tmp_path / name, np.asarray(array), allow_pickle=True)
        return tmp_path / name

    assert "no such file" in said(tmp_path / "none.npz")
    assert "no such file" in said(tmp_path / "none.safetensors")
    assert "takes a .npz, .npy or .safetensors file" in said(network.with_suffix(".txt"))
    assert "not a readable file of styles called 'w'" in said(network)
    (tmp_path / "text.npz").write_text("no zip")
    assert "not a readable file" in said(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", v=np.zeros((6, 16)))
    assert "not a readable file of styles called 'w'" in said(tmp_path / "other.npz")
    assert "not a readable file" in said(saved("objects.npy", [{"a": 1}]))
    assert "6 x 16 numbers, found 1 x 5 x 16" in said(saved("five.npy", np.zeros((5, 16))))
    assert "found 0 x 6 x 16" in said(saved("none.npy", np.zeros((0, 6, 16))))
    assert "not finite" in said(saved("nan.npy", np.full((6, 16), np.nan)))
    assert "leave out --trunc" in said(w_file, "--trunc", 0.5)
    assert "leave out --class" in said(w_file, "--class", "dog")
    for others in (("--seeds", "1"), ("--count", 5)):
        assert "--projected-w: one of them at a time" in said(w_file, *others)
    assert not (tmp_path / "out").exists()
