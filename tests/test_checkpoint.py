"""Files of tensors, derived randomness, devices."""

from __future__ import annotations

import os
import pickle
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from data_helpers import UNHURRIED, png
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training_helpers import CPU

from dnnlib import UserError
from torch_utils.checkpoint import (
    load_state,
    load_tensors,
    previous_state_path,
    save_state,
    save_tensors,
)
from torch_utils.modules import count_parameters
from torch_utils.seeding import derive_seed, reseed
from torch_utils.world import choose_device

TENSORS = {
    "a.weight": torch.arange(24.0).reshape(2, 3, 4).transpose(0, 2),  # not contiguous
    "labels": torch.tensor([1, 2**40]),
    "half": torch.tensor([0.5, -2.0]).bfloat16(),
    "scalar": torch.tensor(True),
    "nothing": torch.zeros(0, 3),
}


def test_tensors_and_metadata_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_tensors(path, TENSORS, {"config": '{"ä": 1}'})
    tensors, metadata = load_tensors(path)
    assert metadata == {"config": '{"ä": 1}'}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_tensors_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.ones(3))
    save_tensors(tmp_path / "net", {"a": weight, "b": weight[:2]}, {})
    assert load_tensors(tmp_path / "net")[0]["b"].tolist() == [1, 1]


def damaged(content: bytes) -> dict[str, bytes]:
    """Files that are no longer, or never were, what they should be."""
    middle = len(content) // 2
    return {
        "empty": b"",
        "first half": content[:middle],
        "a byte short": content[:-1],
        "text": b"hello there, this is a text\n",
        "image": png(0),
        "pickle": pickle.dumps({"nimg": 3}, protocol=2),
        "zeros": bytes(1000),
    }


@pytest.mark.parametrize("kind", damaged(b""))
def test_file_that_holds_no_tensors_is_the_users_to_mend(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "net.safetensors"
    save_tensors(path, TENSORS, {})
    path.write_bytes(damaged(path.read_bytes())[kind])
    with pytest.raises(UserError, match=r"net.safetensors: not a readable safetensors file"):
        load_tensors(path)


def test_missing_files_are_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_tensors(tmp_path / "none")
    with pytest.raises(UserError, match="no such file"):
        load_state(tmp_path / "none", CPU)
    with pytest.raises(UserError, match="not a readable"):
        load_tensors(tmp_path)


STATE: dict[str, Any] = {
    "nimg": 3,
    "best": None,
    "config": "{}",
    "players": {"w": torch.randn(30, 30)},
    "optimizers": {"G": {"state": {0: {"step": torch.tensor(2.0)}}, "param_groups": [{"lr": 0.1}]}},
}


def test_states_round_trip_and_the_one_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"nimg": 1})
    save_state(path, {"nimg": 2})
    save_state(path, STATE)
    loaded = load_state(path, CPU)
    assert torch.equal(loaded["players"].pop("w"), STATE["players"]["w"])
    assert loaded == STATE | {"players": {}}
    assert load_state(previous_state_path(path), CPU) == {"nimg": 2}
    assert len(list(tmp_path.iterdir())) == 2


def test_previous_state_stands_in_for_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"nimg": 1})
    save_state(path, {"nimg": 2})
    path.unlink()
    assert load_state(path, CPU) == {"nimg": 1}


def test_state_that_cannot_be_pickled_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"nimg": 1})
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_state(path, {"function": lambda: None})
    assert load_state(path, CPU) == {"nimg": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [*damaged(b""), "a flipped bit"])
def test_damaged_state_is_the_users_to_mend(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state.pt"
    save_state(path, STATE)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[content.index(STATE["players"]["w"].numpy().tobytes())] ^= 1
    path.write_bytes((damaged(content) | {"a flipped bit": bytes(flipped)})[kind])
    with pytest.raises(UserError, match=r"state.pt: not a readable training state"):
        load_state(path, CPU)


def test_whatever_byte_of_a_state_is_harmed_it_is_told_or_does_not_matter(tmp_path: Path) -> None:
    path, weight = tmp_path / "state.pt", torch.arange(9.0)
    save_state(path, {"nimg": 3, "w": weight})
    content = path.read_bytes()
    harmed = [content[:length] for length in range(0, len(content), 7)]
    # In the table of contents every byte: it decides how the rest is read, and has no checksum.
    places = [*range(0, len(content), 7), *range(content.index(b"PK\1\2"), len(content))]
    harmed += [
        content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :] for place in places
    ]
    told = 0
    for data in harmed:
        path.write_bytes(data)
        try:
            loaded = load_state(path, CPU)
        except UserError:
            told += 1
        else:
            assert loaded["nimg"] == 3
            assert torch.equal(loaded["w"], weight)
    assert told > len(content) // 7  # all that are cut short, at least


def test_metadata_nested_without_end_is_the_users_to_mend(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(safetensors.torch.save({}, {"metadata": "[" * 10**5}))
    with pytest.raises(UserError, match=r"net.safetensors: not a readable safetensors file"):
        load_tensors(path)


class Trap:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_code_inside_a_state_does_not_run(tmp_path: Path) -> None:
    torch.save({"nimg": 1, "players": Trap(tmp_path / "trapped")}, tmp_path / "state.pt")
    with pytest.raises(UserError, match="not a readable training state"):
        load_state(tmp_path / "state.pt", CPU)
    assert not (tmp_path / "trapped").exists()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("save", [save_state, lambda path, state: save_tensors(path, state, {})])
def test_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "file"
    save(path, {"x": torch.ones(1)})
    before = path.read_bytes()
    with file_size_limit(20_000), pytest.raises(UserError, match=r"cannot be written \(File too"):
        save(path, {"x": torch.zeros(10_000)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


parts = st.lists(st.integers() | st.text(), max_size=4)


@UNHURRIED
@given(parts, parts)
def test_seeds_differ_where_their_parts_do(ours: list[int | str], theirs: list[int | str]) -> None:
    assert 0 <= derive_seed(*ours) < 2**63
    assert (derive_seed(*ours) == derive_seed(*theirs)) == (ours == theirs)


def test_seeds_tell_numbers_from_text_and_one_part_from_two() -> None:
    assert len({derive_seed(1, 2), derive_seed("1", 2), derive_seed(12), derive_seed("1, 2")}) == 4


def test_seeds_stay_the_same_for_good() -> None:
    # Another value would change every run that is resumed after an update.
    assert derive_seed(0, 0, 0) == 6764053549521246338


def test_reseeding_repeats_the_same_numbers() -> None:
    drawn = []
    for seed in (1, 2, 1):
        reseed(seed, "init")
        drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[2] != drawn[1]


def test_automatic_device_is_there() -> None:
    assert choose_device("cpu") == CPU
    torch.zeros(1, device=choose_device("auto"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"--device cuda: torch finds none .*usable: .*cpu"):
        choose_device("cuda")


def test_parameters_are_counted_without_buffers() -> None:
    assert count_parameters(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))) == 8 + 4
