"""Weights inside TorchScript programs are read as data, whatever the program is."""

import zipfile

import numpy as np
import pytest
import torch
from conftest import DATA
from detector_helpers import inception_state
from torch import nn

from dnnlib.errors import UserError
from metrics.detectors import get_detector
from metrics.detectors.torchscript import is_torchscript, read_torchscript
from metrics.detectors.weights import read_weights

# torch.jit is on its way out; the files that it has written are not.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
CPU = torch.device("cpu")


class Holder(nn.Module):
    """A module with any tensors and parts."""

    def __init__(self, tensors, parts=None):
        super().__init__()
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
        for name, part in (parts or {}).items():
            self.add_module(name, part)

    def forward(self, x: torch.Tensor):
        return x


def write_program(module, path):
    torch.jit.save(torch.jit.script(module), path)
    return path


@pytest.fixture(autouse=True)
def _programs_stay_unrun(monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *args, **kwargs: pytest.fail("it was run"))


def tree(state, make):
    """Nested `Holder`s: `make` turns each convolution's published tensors into a module."""
    prefixes = [name.removesuffix(".conv.weight") for name in state if "conv.weight" in name]
    parts = {}
    for prefix in prefixes:
        *block, name = prefix.split(".")
        of_conv = {key: state[f"{prefix}.{key}"] for key in ("conv.weight", *BN)}
        target = parts.setdefault(block[0], {}) if block else parts
        target[name] = make(of_conv)
    made = {
        name: part if isinstance(part, nn.Module) else Holder({}, part)
        for name, part in parts.items()
    }
    output = Holder({"weight": state["fc.weight"], "bias": state["fc.bias"]})
    return Holder({"unused": torch.ones(3, 1, 1)}, {"layers": Holder({}, made), "output": output})


BN = ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")


def as_torch_layers(tensors):
    """A convolution and a batch norm side by side."""
    norm = {key.removeprefix("bn."): tensors[key] for key in BN}
    parts = {"conv": Holder({"weight": tensors["conv.weight"]}), "bn": Holder(norm)}
    return Holder({}, parts)


def as_tensorflow_layers(tensors):
    """Everything in one module, and no scale: that of the batch norm is in the weights."""
    scale = tensors["bn.weight"]
    return Holder(
        {
            "beta": tensors["bn.bias"],
            "mean": tensors["bn.running_mean"] * scale,
            "var": tensors["bn.running_var"],
            "weight": tensors["conv.weight"] * scale[:, None, None, None],
        }
    )


@pytest.mark.parametrize("make", [as_torch_layers, as_tensorflow_layers])
def test_inception_from_a_program(make, tmp_path):
    path = write_program(tree(inception_state(), make), tmp_path / "inception-2015-12-05.pt")
    detector = get_detector(str(path), CPU)
    with np.load(DATA / "inception.npz") as vectors:
        features = detector(torch.from_numpy(vectors["images"]))
        np.testing.assert_allclose(features, vectors["out.2048"], rtol=0, atol=5e-5)
        logits = torch.from_numpy(vectors["out.logits_unbiased"])
        probabilities = detector.probabilities(features)
        np.testing.assert_allclose(probabilities, logits.softmax(dim=1), rtol=1e-3, atol=1e-6)


SHAPES = {
    "a.weight": (4, 3, 3, 3),
    "a.bias": (4,),
    "b.weight": (5, 4, 3, 3),
    "b.bias": (5,),
    "fc.weight": (6, 5),
    "fc.bias": (6,),
}


def small_program(path, **changes):
    """Layers of `SHAPES` under other names, between tensors that belong to no layer."""
    torch.manual_seed(0)
    tensors = {name: torch.randn(shape) for name, shape in SHAPES.items()} | changes
    layer = {
        key: Holder({"weight": tensors[f"{key}.weight"], "bias": tensors[f"{key}.bias"]})
        for key in ("a", "b", "fc")
    }
    parts = {"conv1": layer["a"], "conv2": layer["b"], "dense": layer["fc"]}
    extra = {"mean": torch.ones(1, 3, 1, 1), "lpips0": torch.ones(4), "lpips1": torch.ones(5)}
    write_program(Holder(extra, {"layers": Holder({}, parts)}), path)
    return tensors


def published(path):
    shapes = {name: torch.Size(shape) for name, shape in SHAPES.items()}
    return read_weights(path, "use another file").published(shapes, "use another file")


def test_tensors_by_attribute_in_order(tmp_path):
    path = tmp_path / "small.pt"
    tensors = small_program(path)
    assert is_torchscript(path)
    found = read_torchscript(path)
    kept = [name for name in found if name.startswith("layers")]
    assert kept == [
        f"layers.{part}.{kind}"
        for part in ("conv1", "conv2", "dense")
        for kind in ("weight", "bias")
    ]
    for name, tensor in zip(kept, tensors.values(), strict=True):
        assert torch.equal(found[name], tensor)


def test_layers_are_matched_by_order_and_shape(tmp_path):
    tensors = small_program(tmp_path / "small.pt")
    found = published(tmp_path / "small.pt")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_other_layers_are_told(tmp_path):
    path = tmp_path / "other.pt"
    small_program(path, **{"b.weight": torch.zeros(5, 4, 1, 1)})
    with pytest.raises(
        UserError, match="has 2 layers of the shapes of this network and not 3; use"
    ):
        published(path)
    small_program(path, **{"b.weight": torch.zeros(4, 3, 3, 3), "b.bias": torch.zeros(4)})
    with pytest.raises(UserError, match=r"b.weight is float32 \[4, 3, 3, 3\] and not float \[5,"):
        published(path)


def rewrite(path, changes):
    """A copy of a zip with some members changed; None: left out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    folder = next(iter(members)).partition("/")[0]
    members |= {f"{folder}/{name}": data for name, data in changes.items()}
    copy = path.with_name("changed.pt")
    with zipfile.ZipFile(copy, "w") as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)
    return copy


BOMB = b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00false\x85R."
DAMAGES = {
    "code": ({"data.pkl": BOMB}, "refused, it asks for 'os.system'; use"),
    "garbage": ({"data.pkl": b"\xff\xff"}, "is not TorchScript of PyTorch"),
    "empty": ({"data.pkl": b""}, "is not TorchScript of PyTorch"),
    "no description": ({"data.pkl": None}, "is not TorchScript of PyTorch"),
    "short tensor": ({"data/0": b"1234"}, "is not TorchScript of PyTorch (ValueError)"),
    "no tensor": ({"data/0": None}, "is not TorchScript of PyTorch (KeyError)"),
}


@pytest.mark.parametrize(("changes", "said"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_programs_are_told(changes, said, tmp_path):
    small_program(tmp_path / "small.pt")
    path = rewrite(tmp_path / "small.pt", changes)
    with pytest.raises(UserError) as caught:
        published(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_tensors_do_not_reach_beyond_their_memory(tmp_path):
    """A description that promises more than is stored: half the bytes of the first tensor."""
    small_program(tmp_path / "small.pt")
    with zipfile.ZipFile(tmp_path / "small.pt") as archive:
        pickle = next(archive.read(name) for name in archive.namelist() if "data.pkl" in name)
    larger = pickle.replace(b"K\x04K\x03K\x03K\x03", b"K\x44K\x03K\x03K\x03", 1)
    assert larger != pickle
    path = rewrite(tmp_path / "small.pt", {"data.pkl": larger})
    with pytest.raises(UserError, match="is not TorchScript"):
        published(path)


def test_source_text_is_not_looked_at(tmp_path):
    tensors = small_program(tmp_path / "small.pt")
    with zipfile.ZipFile(tmp_path / "small.pt") as archive:
        code = [name.partition("/")[2] for name in archive.namelist() if "/code/" in name]
    path = rewrite(tmp_path / "small.pt", dict.fromkeys(code, b"import os; os.abort()"))
    assert code and torch.equal(published(path)["fc.weight"], tensors["fc.weight"])
