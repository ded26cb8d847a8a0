"""Hostile and broken pickles: each is refused by name, and nothing in them ever runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import DATA
from network_helpers import complaint

import convert
import generate
from dnnlib import UserError
from torch_utils.inert_pickle import read_pickle

PUBLISHED = DATA / "legacy_stylegan2ada.pkl"


@pytest.fixture
def sentinel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, `ran` in the working directory, that appears when a hostile pickle got its way."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ran"


class Asks:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def calls(module: str, name: str, *arguments: object) -> bytes:
    """A pickle that calls a global, found by STACK_GLOBAL."""
    text = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
    return b"\x80\x04}\x8c\x01G" + text + b"\x93" + literal(arguments) + b"Rs."


def literal(value: object) -> bytes:
    return pickle.dumps(value, protocol=3)[2:-1]


SYSTEM = pickle.dumps(Asks(os.system, "touch ran"), protocol=4)
PARTS = [pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {})]
COUNT = 200_000
TENSOR = ("torch._utils", "_rebuild_tensor_v2")
HOSTILE: list[tuple[str, bytes, str]] = [
    ("os.system", SYSTEM, "asks for 'posix.system'"),
    ("in a network", pickle.dumps({"G": [Asks(os.system, "touch ran")]}), "asks for 'posix.sys"),
    ("eval", pickle.dumps(Asks(eval, "open('ran', 'w')")), "asks for 'builtins.eval'"),
    ("getattr", calls("builtins", "getattr", "x", "__class__"), "asks for 'builtins.getattr'"),
    ("import", calls("builtins", "__import__", "os"), "asks for 'builtins.__import__'"),
    ("python 2", b"c__builtin__\nexec\n(U\x10open('ran', 'w')tR.", "asks for '__builtin__.exec'"),
    ("inst", b"(S'touch ran'\nios\nsystem\n.", "uses the pickle instruction"),
    ("extension", b"\x80\x02\x82\x01.", "uses the pickle instruction EXT1"),
    ("obj", b"\x80\x02(cos\nsystem\nX\x01\x00\x00\x00ao.", "asks for 'os.system'"),
    ("torch.load", calls("torch", "load", "x"), "asks for 'torch.load'"),
    ("serialization", calls("torch.serialization", "load", "x"), "'torch.serialization.load'"),
    ("torch.hub", calls("torch.hub", "load", "x", "y"), "asks for 'torch.hub.load'"),
    ("from type", calls("torch._utils", "_rebuild_from_type_v2"), "_rebuild_from_type_v2'"),
    ("storage", calls("torch.storage", "_load_from_bytes", SYSTEM), "asks for 'posix.system'"),
    (
        "storage's own pickle",
        calls("torch.storage", "_load_from_bytes", b"".join([*PARTS, SYSTEM])),
        "asks for 'posix.system'",
    ),
    (
        "nested storages",
        calls("torch.storage", "_load_from_bytes", calls("torch.storage", "_load_from_bytes", b"")),
        "asks for 'torch.storage._load_from_bytes'",
    ),
    ("dotted", calls("os.path", "join.__globals__"), "asks for 'os.path.join.__globals__'"),
    ("dotted class", calls("collections", "OrderedDict.__init__"), "OrderedDict.__init__'"),
    ("dotted module", calls("training.legacy", "Path.home"), "asks for 'training.legacy.Path"),
    ("our function", calls("training.snapshots", "fetch", "x"), "'training.snapshots.fetch'"),
    ("odd names", calls("os\nx", "y" * 200), r"asks for 'os\nx.yyyyyy"),
    ("calls a string", b"\x80\x04X\x01\x00\x00\x00a)R.", "it calls str"),
    ("calls a record", calls("training.x", "X")[:-2] + b")R.", "it calls Record"),
    ("builds a function", b"\x80\x04ctorch\nSize\n}b.", "sets the state of a Global"),
    ("builds a list", b"\x80\x04]}b.", "sets the state of a list"),
    ("persistent", b"\x80\x04X\x01\x00\x00\x00aQ.", "uses the pickle instruction BINPERSID"),
    ("strange number", calls("numpy.core.multiarray", "scalar", 1, b"x"), "not a readable pickle"),
    ("no storage", calls(*TENSOR, [1], 0, (1,), (1,)), "not a readable pickle"),
    ("empty", b"", "not a readable pickle"),
    ("no end", b"\x80\x04}", "not a readable pickle"),
    ("nothing on the stack", b"\x80\x04R.", "not a readable pickle"),
    ("memo", b"\x80\x04h\x07.", "not a readable pickle"),
    ("dict of itself", b"\x80\x04}\x94h\x00h\x00s.", "not a readable pickle"),
    ("endless bytes", b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0fa.", "not a readable pickle"),
    ("text", b"<!DOCTYPE html>", "not a readable pickle"),
    ("other things", pickle.dumps([1, 2]), "not a published network (no dict"),
    ("no networks", pickle.dumps({"G_ema": 1, "D": None}), "its G_ema is missing"),
    ("deep lists", b"\x80\x04" + b"]" * COUNT + b"a" * (COUNT - 1) + b".", "no dict of G_ema"),
    ("deep keys", b"\x80\x04})" + b"\x85" * COUNT + b"Ns.", "a tuple as a key"),
    ("steps", b"\x80\x04" + b"N0" * 3 + b"N" * 2_000_001 + b".", "pickle instruction POP"),
    ("too many steps", b"\x80\x04" + b"N" * 2_000_001 + b".", "takes more than 2000000 steps"),
]


@pytest.mark.parametrize(
    ("data", "said"), [case[1:] for case in HOSTILE], ids=[c[0] for c in HOSTILE]
)
def test_hostile_and_broken_pickles_are_refused_by_name(
    sentinel: Path, capsys: pytest.CaptureFixture[str], data: bytes, said: str
) -> None:
    path = sentinel.parent / "net.pkl"
    path.write_bytes(data)
    line = complaint(capsys, generate.main, "--network", path, "--outdir", "out")
    assert line.startswith(f"Error: {path}: ") and said in line
    assert len(line) < 500
    assert not sentinel.exists() and not (sentinel.parent / "out").exists()


def test_the_attacks_would_work_on_an_ordinary_unpickler(sentinel: Path) -> None:
    pickle.loads(SYSTEM)
    assert sentinel.exists()


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.9, 0.99999])
def test_truncated_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float) -> None:
    data = PUBLISHED.read_bytes()
    path = tmp_path / "net.pkl"
    path.write_bytes(data[: int(len(data) * share)])
    line = complaint(capsys, convert.main, path, tmp_path / "net.safetensors")
    assert "not a readable pickle, but truncated, damaged" in line
    assert not (tmp_path / "net.safetensors").exists()


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(1, (2, 2), (2, 1)), (0, (3,), (2,)), (-1, (1,), (1,)), (0, (2**39, 2), (0, 0))],
)
def test_tensors_stay_inside_their_storage(
    tmp_path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    storage = torch.arange(4.0).untyped_storage()
    rebuild = torch._utils._rebuild_tensor_v2
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    path = tmp_path / "tensor.pkl"
    path.write_bytes(pickle.dumps(Asks(rebuild, typed, 2, (2,), (1,), False, {})))
    assert torch.equal(read_pickle(path), torch.tensor([2.0, 3.0]))  # type: ignore[arg-type]
    path.write_bytes(pickle.dumps(Asks(rebuild, typed, offset, size, stride, False, {})))
    with pytest.raises(UserError, match=r"tensor\.pkl: not a readable pickle"):
        read_pickle(path)
