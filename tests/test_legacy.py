"""Published network pickles: the same numbers as published, and nothing in them ever runs."""

from __future__ import annotations

import io
import pickle
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DATA
from network_helpers import complaint, exit_status
from PIL import Image

import convert
import generate
import interpolation
from dnnlib import UserError
from torch_utils.inert_pickle import Record, read_pickle
from training.config import TrainingConfig
from training.snapshots import load_network

PUBLISHED = DATA / "legacy_stylegan2ada.pkl"


def vectors(name: str) -> dict[str, torch.Tensor]:
    with np.load(DATA / name) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files if key != "meta"}


def write_again(
    path: Path, root: object, monkeypatch: pytest.MonkeyPatch, protocol: int = 4, source: str = ""
) -> Path:
    """Pickle what `read_pickle` gave in the published layout, with `source` as its source text."""

    def _reconstruct_persistent_obj(meta: object) -> None:
        raise AssertionError("the file's function ran")

    module = types.ModuleType("torch_utils.persistence")
    _reconstruct_persistent_obj.__module__ = module.__name__
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: object) -> Any:
            if not isinstance(value, Record):
                return NotImplemented
            meta = {"type": "class", "version": 6, "module_src": source}
            meta |= {"class_name": value.name, "state": value.state}  # type: ignore[dict-item]
            return _reconstruct_persistent_obj, (meta,)

    buffer = io.BytesIO()
    Pickler(buffer, protocol=protocol).dump(root)
    path.write_bytes(buffer.getvalue())
    return path


def test_generator_and_discriminator_match_the_published_ones() -> None:
    v = vectors("legacy_stylegan2ada.npz")
    network = load_network(str(PUBLISHED))
    with torch.no_grad():
        y = network.generator(v["z"], v["c"], noise_mode="const")
        d = network.players.D(v["y"], v["c"])
    torch.testing.assert_close(y, v["y"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(d, v["d"], rtol=1e-5, atol=1e-6)


def test_facts_come_from_the_arguments_and_the_rest_is_made_up() -> None:
    network = load_network(str(PUBLISHED))
    facts, config = network.facts, network.config
    assert (facts.width, facts.height, facts.num_channels, facts.num_images) == (16, 16, 3, 100)
    assert facts.class_names == ("0", "1", "2", "3") and facts.digest == "unknown"
    assert (config.preset, config.data.path) == ("stylegan2", "data.zip")
    assert config.generator.map_layers == 2 and config.discriminator.map_layers == 8
    assert config.classifier is None and config.diffusion_d is None
    assert TrainingConfig.from_json(config.to_json(), "again") == config


def test_converted_file_is_the_same_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "new" / "net.safetensors"
    assert exit_status(convert.main, PUBLISHED, result) == 0
    assert str(result) in capsys.readouterr().out
    ours, theirs = load_network(str(result)), load_network(str(PUBLISHED))
    assert ours.config == theirs.config
    weights = theirs.players.state_dict()
    assert all(torch.equal(weights[key], now) for key, now in ours.players.state_dict().items())
    for name, network in (("pkl", PUBLISHED), ("ours", result)):
        options = ("--outdir", tmp_path / name, "--seeds", "0-2", "--class", "all", "--grid")
        assert exit_status(generate.main, "--network", network, *options) == 0
    files = sorted(path.name for path in (tmp_path / "pkl").glob("*.png"))
    assert len(files) == 13 and "seed0002-3.png" in files
    for file in files:
        a, b = (np.asarray(Image.open(tmp_path / name / file)) for name in ("pkl", "ours"))
        assert np.array_equal(a, b)
    assert "already there" in complaint(capsys, convert.main, PUBLISHED, result)
    assert exit_status(convert.main, PUBLISHED, result, "--overwrite") == 0
    assert "end in .safetensors" in complaint(capsys, convert.main, PUBLISHED, tmp_path / "a.pkl")
    assert "no such file" in complaint(capsys, convert.main, "none.pkl", tmp_path / "a.safetensors")


def test_scripts_read_a_pickle_whatever_its_name(tmp_path: Path) -> None:
    shutil.copy(PUBLISHED, tmp_path / "download")
    options = ("--outdir", tmp_path / "video", "--seconds", 0.2, "--format", "frames")
    there = ("--network", tmp_path / "download")
    assert exit_status(interpolation.main, *there, *options, "--classes", "0,3") == 0
    assert any((tmp_path / "video").rglob("*.png"))


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_other_protocols_and_source_text_that_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    source = "open('ran', 'w').close()\n" * 1000
    path = tmp_path / "net.pkl"
    write_again(path, read_pickle(PUBLISHED), monkeypatch, protocol, source)
    assert source.encode()[:20] in path.read_bytes()
    before = load_network(str(PUBLISHED)).players.state_dict()
    after = load_network(str(path)).players.state_dict()
    assert all(torch.equal(before[key], tensor) for key, tensor in after.items())
    assert not (tmp_path / "ran").exists()


def put(module: Record, key: str, tensor: torch.Tensor) -> None:
    """Set a tensor of a record's tree by its name in the state dict."""
    *parents, name = key.split(".")
    for parent in parents:
        modules = module.state["_modules"]  # type: ignore[index]
        empty = {"_parameters": {}, "_buffers": {}, "_modules": {}}
        module = modules.setdefault(parent, Record("Layer", state=empty))
    state: Any = module.state
    group = "_buffers" if name in state["_buffers"] else "_parameters"
    state[group][name] = tensor


def test_dudgans_discriminator_sees_timesteps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    v = vectors("dudgan_discriminator.npz")
    root: Any = read_pickle(PUBLISHED)
    for key, tensor in v.items():
        if key.startswith("D.sd."):
            put(root["D"], key.removeprefix("D.sd."), tensor)
    arguments = root["D"].state["_init_kwargs"]
    arguments |= {"channel_base": 128, "channel_max": 16, "conv_clamp": None}
    network = load_network(str(write_again(tmp_path / "net.pkl", root, monkeypatch)))
    assert network.config.diffusion_d is not None
    with torch.no_grad():
        logits = network.players.D(v["img"], v["c"], v["t"][:, 0])
    torch.testing.assert_close(logits, v["D_logits"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("player", "name", "value", "said"),
    [
        ("G_ema", "img_resolution", 20, "not a network of images (size 20"),
        ("G_ema", "img_resolution", 32, "made with 'img_resolution' = 16"),
        ("G_ema", "z_dim", -1, "G_ema was made with 'z_dim' = -1"),
        ("G_ema", "z_dim", "16", "G_ema was made with 'z_dim' = '16'"),
        ("G_ema", "z_dim", 2**2000, "a number without end"),
        ("G_ema", "z_dim", 2**20, "its G_ema was made for larger tensors than it holds"),
        ("G_ema", "synthesis_kwargs", {"resample_filter": [torch.ones(2)]}, "= an object"),
        ("G_ema", "mapping_kwargs", {"num_layers": 2**19}, "'num_layers' = 524288"),
        ("D", "cmap_dim", 2**20, "its D was made for larger tensors than it holds"),
        ("G_ema", "w_dim", 17, "its config has no G_ema."),
        ("G_ema", "mapping_kwargs", {"layer_features": 3}, "mapping_kwargs was made with 'layer_f"),
        ("G_ema", "synthesis_kwargs", {"architecture": "x"}, "made with 'architecture' = 'x'"),
        ("G_ema", "magnitude", 0.5, "G_ema was made with 'magnitude' = 0.5"),
        ("D", "block_kwargs", {"activation": "relu"}, "made with 'activation' = 'relu'"),
        ("D", "epilogue_kwargs", {"mbstd_num_channels": 2}, "'mbstd_num_channels' = 2"),
        ("D", "c_dim", 9, "D was made with 'c_dim' = 9"),
    ],
)
def test_networks_that_ours_cannot_represent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    player: str,
    name: str,
    value: object,
    said: str,
) -> None:
    root: Any = read_pickle(PUBLISHED)
    root[player].state["_init_kwargs"][name] = value
    path = write_again(tmp_path / "net.pkl", root, monkeypatch)
    line = complaint(capsys, generate.main, "--network", path, "--outdir", tmp_path / "out")
    assert line.startswith(f"Error: {path}: ") and said in line


def test_arguments_that_change_no_float32_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root: Any = read_pickle(PUBLISHED)
    root["G_ema"].state["_init_kwargs"]["synthesis_kwargs"] |= {"num_fp16_res": 4}
    root["D"].state["_init_kwargs"] |= {"num_fp16_res": 4, "block_kwargs": {"freeze_layers": 2}}
    path = write_again(tmp_path / "net.pkl", root, monkeypatch)
    assert load_network(str(path)).config == load_network(str(PUBLISHED)).config


def test_damage_anywhere_is_a_line_or_a_network(tmp_path: Path) -> None:
    data = PUBLISHED.read_bytes()
    path = tmp_path / "net.pkl"
    random = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 20):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            load_network(str(path))
        except UserError as error:
            assert str(path) in str(error)


def test_modules_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root: Any = read_pickle(PUBLISHED)
    modules = root["G_ema"].state["_modules"]
    state = {"_parameters": {}, "_modules": modules}
    for index in range(20):
        modules[f"again{index}"] = Record("Layer", state=state)
    path = tmp_path / "net.pkl"
    with pytest.raises(UserError, match="nested without end"):
        load_network(str(write_again(path, root, monkeypatch)))
