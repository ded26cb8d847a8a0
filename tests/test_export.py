"""export.py: files that make the generator's images without this project."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from network_helpers import CLASSES, complaint, exit_status
from torch import Tensor

import export
from dnnlib.files import sha256_file
from training.generation import export as module
from training.generation.export import ExportConfig, PlainGenerator, example, export_network, trace
from training.generation.synthesis import StyleConfig, class_center
from training.pictures import to_uint8
from training.snapshots import load_network

pytest_plugins = ["network_fixtures"]

PSI = 0.6


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory, network: Path) -> Path:
    """The network with classes, truncated towards the class."""
    path = tmp_path_factory.mktemp("export") / "net.onnx"
    options = ("--trunc", PSI, "--trunc-center", "class", "--network", network)
    assert exit_status(export.main, *options, "--out", path) == 0
    return path


@pytest.fixture(scope="module")
def program_file(tmp_path_factory: pytest.TempPathFactory, network: Path) -> Path:
    """The network with 8-bit pixels and without noise."""
    path = tmp_path_factory.mktemp("export") / "net.bin"
    options = ("--torch-export", "--pixels", "uint8", "--noise-mode", "none", "--trunc", 0.5)
    assert exit_status(export.main, "--network", network, "--out", path, *options) == 0
    return path


@torch.no_grad()
def expected(network: Path, z: Tensor, c: Tensor) -> np.ndarray[Any, Any]:
    """Images from the networks themselves, truncated towards the mean of the class."""
    generator = load_network(str(network)).generator
    ws = generator.mapping(z, c)
    center = c @ class_center(generator, torch.eye(3))
    ws = center[:, None] + PSI * (ws - center[:, None])
    images: Tensor = generator.synthesis(ws, noise_mode="const")
    return images.numpy()


@pytest.mark.parametrize("count", [1, 2, 4, 16, 17])
def test_onnxruntime_makes_the_same_images(onnx_file: Path, network: Path, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    z = torch.randn(count, 16, generator=generator)
    c = torch.eye(3)[torch.arange(count) % 3]
    c[0] = torch.tensor([0.25, 0.0, 0.75])  # a mixture
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    (images,) = session.run(None, {"z": z.numpy(), "c": c.numpy()})
    assert images.dtype == np.float32 and images.shape == (count, 1, 16, 16)
    wanted = expected(network, z, c)
    assert np.abs(images - wanted).max() < 1e-4
    assert wanted.std() > 0.05 and np.abs(wanted[0] - wanted[-1]).max() >= 0.05 * (count > 1)


def test_onnx_file_tells_what_it_is(onnx_file: Path, network: Path) -> None:
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model, full_check=True)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["class_names"]) == list(CLASSES)
    assert facts["network"] == sha256_file(network)
    assert (facts["width"], facts["height"], facts["num_channels"]) == ("16", "16", "1")
    assert (facts["trunc"], facts["trunc_center"]) == (str(PSI), "class")
    assert (facts["noise_mode"], facts["range"]) == ("const", "-1..1")
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"z": ["batch", 16], "c": ["batch", 3], "images": ["batch", 1, 16, 16]}


def test_program_of_torch_export(program_file: Path, network: Path) -> None:
    extra = {"metadata.json": ""}
    program = torch.export.load(program_file, extra_files=extra).module()
    facts = json.loads(extra["metadata.json"])
    assert facts["class_names"] == '["cat", "dog", "wild"]' and facts["range"] == "0..255"
    generator = load_network(str(network)).generator
    for count in (1, 4, 8, 16):
        z = torch.randn(count, 16, generator=torch.Generator().manual_seed(count))
        c = torch.eye(3)[torch.arange(count) % 3]
        with torch.no_grad():
            wanted = to_uint8(generator(z, c, 0.5, noise_mode="none"))
            images = program(z, c)
        assert images.dtype == torch.uint8 and images.shape == (count, 1, 16, 16)
        assert (images.int() - wanted.int()).abs().max() <= 1


@torch.no_grad()
def test_generator_without_classes_takes_z_alone(unconditional: Path) -> None:
    generator = load_network(str(unconditional)).generator
    program = trace(PlainGenerator(generator, StyleConfig(), "float32"), batch=None).module()
    for count in (1, 8):
        (z,) = example(generator, count)
        wanted = generator(z, torch.zeros(count, 0), noise_mode="const")
        assert torch.allclose(program(z), wanted, atol=1e-4)


def test_programs_in_the_documentation(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    network: Path,
    onnx_file: Path,
    program_file: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for file, name in ((network, "network.safetensors"), (onnx_file, "net.onnx"),
                       (program_file, "net.pt2")):  # fmt: skip
        shutil.copy(file, name)
    text = (Path(__file__).parent.parent / "docs" / "networks.md").read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        names: dict[str, Any] = {}
        exec(block.replace("torch.randn(4, 512)", "torch.randn(4, 16)"), names)
        found |= {f"{name} of {len(found)}": value for name, value in names.items()}
    assert capsys.readouterr().out == "['cat', 'dog', 'wild']\n"
    shapes = {name: np.shape(value) for name, value in found.items() if "images of" in name}
    assert list(shapes.values()) == [(3, 1, 16, 16), (4, 1, 16, 16), (4, 1, 16, 16)]


def test_plain_generator_keeps_mixtures_in_proportion(network: Path) -> None:
    """The class centre depends on the proportions of the weights, not on their sum."""
    generator = load_network(str(network)).generator
    style = StyleConfig(trunc=0, trunc_center="class")
    model = PlainGenerator(generator, style, "float32")
    z = torch.zeros(1, 16)
    with torch.no_grad():
        one = model(z, torch.tensor([[0.5, 0.5, 0]]))
        other = model(z, torch.tensor([[2.0, 2.0, 0]]))
    assert torch.allclose(one, other, atol=1e-5)


def test_file_that_differs_is_not_written(
    tmp_path: Path, unconditional: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    wrong = torch.full((1, 3, 8, 16), 9.0)
    monkeypatch.setattr(module, "trace", lambda model, batch: None)
    monkeypatch.setattr(module, "_as_torch_export", lambda *_: (b"", lambda _: wrong))
    path = tmp_path / "net.pt2"
    arguments = ("--network", unconditional, "--out", path, "--batch", 1)
    assert exit_status(export.main, *arguments) == 1
    assert "its images would differ by" in capsys.readouterr().err and not path.exists()


def test_wrong_options(
    tmp_path: Path, network: Path, unconditional: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(file: Path, name: str, *options: object) -> str:
        plain = ("--network", file, "--out", tmp_path / name)
        return complaint(capsys, export.main, *plain, *options)

    assert "must end in .onnx or .pt2" in said(network, "net.bin")
    assert "draws no noise" in said(network, "net.onnx", "--noise-mode", "random")
    assert "'dynamic' or a number from 1" in said(network, "net.onnx", "--batch", "0")
    assert "without classes" in said(unconditional, "net.pt2", "--trunc-center", "class")
    (tmp_path / "folder.pt2").mkdir()
    assert "is a folder" in said(network, "folder.pt2")


def test_missing_package(tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.import_module

    def without_onnxscript(name: str) -> object:
        if name == "onnxscript":
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(module, "import_module", without_onnxscript)
    config = ExportConfig(network=str(network), out=tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="onnxscript; install it: pip install onnx onnxscript"):
        export_network(config)
