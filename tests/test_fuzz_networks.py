"""Network files of random damage and malice: they are read, or refused in a line; nothing runs."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from bad_inputs.mutations import fuzzed, json_values, mutated, odd_numbers, paths_in, replace_in
from conftest import DATA
from hypothesis import given
from hypothesis import strategies as st
from network_helpers import tiny_config, write_network
from pytest import MonkeyPatch
from training_helpers import small_config

from dnnlib import UserError
from torch_utils.checkpoint import METADATA, load_tensors, save_tensors
from torch_utils.inert_pickle import Record, read_pickle
from training.config import DataFacts
from training.data.dataset import DataConfig
from training.options import make_config, resolve_options
from training.plausible import check_plausible
from training.players import Players
from training.presets import PresetName
from training.snapshots import load_network, save_network

PUBLISHED = (DATA / "legacy_stylegan2ada.pkl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small network file."""
    path = tmp_path_factory.mktemp("whole") / "net.safetensors"
    return write_network(path, tiny_config(size=(8, 8))).read_bytes()


@pytest.fixture(autouse=True)
def _nothing_large(monkeypatch: MonkeyPatch) -> None:
    """Fail where a file of a few bytes makes torch reserve a lot of memory."""
    for name in ("empty", "zeros", "ones", "randn"):
        monkeypatch.setattr(torch, name, _limited(getattr(torch, name)))


def _limited(make: Any) -> Any:
    def limited(*size: Any, **options: Any) -> torch.Tensor:
        given_size = size[0] if size and isinstance(size[0], list | tuple) else size
        count = 1
        for length in given_size:
            count *= length if isinstance(length, int) else 1
        assert count < 2**26, f"{count} numbers for a file of some kilobytes"
        tensor: torch.Tensor = make(*size, **options)
        return tensor

    return limited


def take(path: Path, content: bytes) -> None:
    """Load `content` as a network: it is one, or a `UserError` names the file."""
    path.write_bytes(content)
    try:
        network = load_network(str(path))
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert network.generator.width == network.facts.width


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Any, tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


@pytest.mark.parametrize("cfg", ["tiny", "auto", "cifar", "stylegan2", "sngan32"])
@pytest.mark.parametrize("num_classes", [0, 3, 200])
@pytest.mark.parametrize("given", [{}, {"channel_base": 256}, {"latent_dim": 300}])
def test_no_network_of_ours_is_too_small_for_its_config(
    cfg: PresetName, num_classes: int, given: dict[str, int]
) -> None:
    facts = DataFacts(
        width=16,
        height=32,
        num_channels=3,
        num_classes=num_classes,
        class_names=tuple(map(str, range(num_classes))),
        num_images=9,
        digest="0" * 64,
    )
    options = resolve_options(cfg, {"channel_max": 16, "embed_dim": 16} | given, 16, 32)
    config = make_config(options, DataConfig(path="none"), facts)
    check_plausible(Path("net"), config, Players(config).published())


@pytest.mark.parametrize(
    ("cfg", "part", "changes", "said"),
    [
        ("tiny", "facts", {"num_channels": 3_000_000}, "facts.num_channels: Input should be less"),
        ("tiny", "diffusion_d", {"list_size": 2**30}, "list_size: Input should be less"),
        ("tiny", "generator", {"w_dim": 50_000}, "its G_ema was made for larger tensors"),
        ("tiny", "discriminator", {"cmap_dim": 3000}, "its D was made for larger tensors"),
        ("tiny", "classifier", {"embed_dim": 3000}, "its C was made for larger tensors"),
        ("sngan32", "generator", {"z_dim": 3000}, "its G_ema was made for larger tensors"),
        ("sngan32", "classifier", {"embed_dim": 800}, "its C was made for larger tensors"),
    ],
)
@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_small_file_cannot_ask_for_large_networks(
    tmp_path: Path,
    cfg: PresetName,
    part: str,
    changes: dict[str, int],
    said: str,
    num_classes: int,
) -> None:
    small = small_config(num_classes, cfg)
    save_network(tmp_path / "whole", Players(small), small, nimg=0)
    tensors, metadata = load_tensors(tmp_path / "whole")
    config = json.loads(metadata["config"])
    if config[part] is None:  # no classifier without classes
        return
    config[part] |= changes
    save_tensors(tmp_path / "net", tensors, metadata | {"config": json.dumps(config)})
    with pytest.raises(UserError, match=rf"net: .*{said}"):
        load_network(str(tmp_path / "net"))


@fuzzed(40)
@given(data=st.data())
def test_damaged_network_files(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    take(tmp_path / "net.safetensors", data.draw(mutated(whole, [0, 8, 100, 1000])))


@fuzzed(40)
@given(data=st.data())
def test_strange_headers(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    header, tensors = split(whole)
    paths = [path for path in paths_in(header) if path[0] != "__metadata__"]
    for path in data.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=3, unique=True)):
        value = data.draw(
            json_values | odd_numbers | st.sampled_from(["F64", "I8", "BF16", [2, 2]])
        )
        try:
            replace_in(header, path, lambda _, value=value: value)
        except (TypeError, KeyError, IndexError):  # a place inside what was replaced before
            continue
    take(tmp_path / "net.safetensors", joined(header, tensors))


@fuzzed(100)
@given(data=st.data())
def test_strange_metadata(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    header, tensors = split(whole)
    metadata = json.loads(header["__metadata__"][METADATA])
    config = json.loads(metadata["config"])
    for path in data.draw(st.lists(st.sampled_from(paths_in(config)), max_size=2, unique=True)):
        value = data.draw(json_values | odd_numbers)
        try:
            replace_in(config, path, lambda _, value=value: value)
        except (TypeError, KeyError, IndexError):
            continue
    metadata["config"] = json.dumps(config)
    if data.draw(st.integers(0, 4)) == 0:
        metadata[data.draw(st.sampled_from([*metadata]))] = data.draw(json_values)
    text = data.draw(st.sampled_from([json.dumps(metadata)] * 9 + ["[1]", "", '{"a": NaN']))
    header["__metadata__"][METADATA] = text
    take(tmp_path / "net.safetensors", joined(header, tensors))


@fuzzed(40)
@given(mutated(PUBLISHED, [0, 50, 200, 1000]))
def test_damaged_published_networks(tmp_path: Path, content: bytes) -> None:
    take(tmp_path / "net.pkl", content)


# Instructions of pickles with arguments, safe and unsafe ones.
_TEXTS = st.sampled_from(
    [
        "os",
        "system",
        "builtins",
        "eval",
        "collections",
        "OrderedDict",
        "torch",
        "Size",
        "G_ema",
        "torch._utils",
        "_rebuild_tensor_v2",
        "numpy.core.multiarray",
        "scalar",
    ]
)
_PLAIN = [
    bytes([code]) for code in b"N\x88\x89})](at\x85\x86\x87aesubR\x810Q2\x90\x8f\x91\x93\x94.1"
]
_NAMES = st.tuples(_TEXTS, _TEXTS).map(lambda pair: f"c{pair[0]}\n{pair[1]}\n".encode())
_STRINGS = _TEXTS.map(lambda text: b"\x8c" + bytes([len(text)]) + text.encode())
_SMALL = st.integers(0, 5).map(lambda number: bytes([number]))
_WITH_BYTE = st.tuples(st.sampled_from([b"K", b"q", b"h", b"\x80"]), _SMALL).map(b"".join)
_LONGS = st.sampled_from(
    [
        b"J\xff\xff\xff\x7f",
        b"\x8a\x01\xff",
        b"\x8b\xff\xff\xff\x7f",
        b"T\xff\xff\xff\x7f",
        b"\x8d" + b"\xff" * 8,
        b"B\x04\0\0\0abcd",
        b"I01\n",
        b"i__main__\nx\n",
        b"\x82\x01",
    ]
)
instructions = st.sampled_from(_PLAIN) | _NAMES | _STRINGS | _WITH_BYTE | _LONGS
streams = st.lists(instructions, max_size=40).map(
    lambda parts: b"\x80\x02" + b"".join(parts) + b"."
)


@fuzzed(150)
@given(streams)
def test_pickles_of_random_instructions(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    try:
        value = read_pickle(path)
    except UserError as error:
        assert str(path) in str(error)
    else:
        check_inert(value, 0)


def check_inert(value: object, depth: int) -> None:
    """Only plain values, tensors and records come out."""
    kinds = (type(None), bool, int, float, str, bytes, list, tuple, dict, set, torch.Tensor, Record)
    assert isinstance(value, kinds) or type(value).__name__ in {"Global", "Storage"}
    if depth < 5 and isinstance(value, list | tuple | set | dict):
        for item in [*value, *(value.values() if isinstance(value, dict) else ())]:
            check_inert(item, depth + 1)


@fuzzed(40)
@given(data=st.data())
def test_damaged_states_of_torch(tmp_path: Path, data: st.DataObject) -> None:
    """What a detector's weights may be: a state dict of torch."""
    buffer = io.BytesIO()
    torch.save({"a.weight": torch.zeros(3, 2), "n": 1}, buffer)
    take(tmp_path / "net.pt", data.draw(mutated(buffer.getvalue(), [0, 40, 100])))
