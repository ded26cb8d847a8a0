"""Network files: what is written is what is read, and what is no network says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from network_helpers import CLASSES, tiny_config, write_network
from torch import Tensor

from dnnlib import UserError
from dnnlib.files import sha256_file
from torch_utils.checkpoint import load_tensors, save_tensors
from training.config import TrainingConfig
from training.generation.synthesis import class_center
from training.networks.layers import one_hot
from training.players import Players
from training.snapshots import (
    class_index,
    find_network,
    load_network,
    network_snapshots,
    save_network,
    snapshot_name,
)

pytest_plugins = ["network_fixtures"]

FACTS = tiny_config().facts


def draw(players: Players) -> Tensor:
    """A generated image of each class."""
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        images: Tensor = players.G_ema(z, one_hot(torch.arange(3), 3), noise_mode="const")
    return images


def trained_players(config: TrainingConfig) -> Players:
    """Players whose every weight differs from its beginning, G from G_ema too."""
    players = Players(config)
    torch.manual_seed(1)
    for tensor in players.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(torch.randn_like(tensor), alpha=0.1)
    return players


def test_network_file_gives_back_images_verdicts_and_features(tmp_path: Path) -> None:
    config = tiny_config()
    players = trained_players(config)
    save_network(tmp_path / "net.safetensors", players, config, nimg=12345)
    loaded = load_network(str(tmp_path / "net.safetensors"))
    images = draw(players)
    assert torch.equal(draw(loaded.players), images)
    assert torch.equal(loaded.players.G.mapping.fc0.weight, players.G_ema.mapping.fc0.weight)
    timesteps, c = torch.tensor([0, 5, 9]), one_hot(torch.arange(3), 3)
    assert torch.equal(loaded.players.D(images, c, timesteps), players.D(images, c, timesteps))
    assert loaded.players.C is not None and players.C is not None
    assert torch.equal(
        loaded.players.C.encode(images, timesteps), players.C.encode(images, timesteps)
    )


def test_network_file_says_what_it_is(network: Path) -> None:
    loaded = load_network(str(network))
    assert loaded.path == network
    assert loaded.digest == sha256_file(network)
    assert loaded.nimg == 5000
    assert loaded.config == tiny_config()
    assert loaded.facts.class_names == CLASSES
    assert not loaded.generator.training


def test_network_without_classes_has_no_classifier(unconditional: Path) -> None:
    loaded = load_network(str(unconditional))
    assert loaded.players.C is None
    assert loaded.facts.num_classes == 0


def with_metadata(network: Path, path: Path, **changes: str) -> None:
    tensors, metadata = load_tensors(network)
    save_tensors(path, tensors, metadata | changes)


def with_tensor(network: Path, path: Path, name: str, tensor: Tensor | None) -> None:
    tensors, metadata = load_tensors(network)
    changed = {key: value for key, value in (tensors | {name: tensor}).items() if value is not None}
    save_tensors(path, changed, metadata)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "dudgan-99"}, "not a network file of this project"),
        ({"config": ""}, "config: Invalid JSON"),
        ({"config": "{}"}, "preset: Field required"),
        ({"nimg": "many"}, "nimg"),
    ],
)
def test_foreign_metadata_is_the_users_to_mend(
    network: Path, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    with_metadata(network, tmp_path / "net", **changes)
    with pytest.raises(UserError, match=rf"net: .*{said}"):
        load_network(str(tmp_path / "net"))


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("G_ema.mapping.w_avg", None, "lacks 1 tensors, the first is G_ema.mapping.w_avg"),
        ("G_ema.mapping.w_avg", torch.zeros(17), r"no G_ema.mapping.w_avg of shape \[17\]"),
        ("D.unheard_of", torch.zeros(2), r"no D.unheard_of of shape \[2\]"),
    ],
)
def test_tensors_that_do_not_fit_the_config_are_named(
    network: Path, tmp_path: Path, name: str, tensor: Tensor | None, said: str
) -> None:
    with_tensor(network, tmp_path / "net", name, tensor)
    with pytest.raises(UserError, match=rf"net: .*{said}"):
        load_network(str(tmp_path / "net"))


def test_run_folder_means_its_best_else_its_newest_network(tmp_path: Path) -> None:
    for name in ("999999", "1000000", "000007"):
        (tmp_path / f"network-snapshot-{name}.safetensors").write_bytes(b"")
    for name in ("network-snapshot-2000000.safetensors.tmp", "fakes3000000.png"):
        (tmp_path / name).write_bytes(b"")
    assert find_network(str(tmp_path)).name == "network-snapshot-1000000.safetensors"
    (tmp_path / "network-best.safetensors").write_bytes(b"")
    assert find_network(str(tmp_path)).name == "network-best.safetensors"


def test_snapshots_are_listed_oldest_first(tmp_path: Path) -> None:
    kimgs = [1_000_000, *range(900, 0, -60), 999_999]
    for kimg in kimgs:
        (tmp_path / snapshot_name(kimg * 1000)).write_bytes(b"")
    listed = [path.name for path in network_snapshots(tmp_path)]
    assert listed == [snapshot_name(kimg * 1000) for kimg in sorted(kimgs)]


def test_snapshots_are_numbered_by_thousand_images(tmp_path: Path) -> None:
    assert snapshot_name(25_000_000) == "network-snapshot-025000.safetensors"
    (tmp_path / snapshot_name(1999)).write_bytes(b"")
    assert find_network(str(tmp_path)).name == "network-snapshot-000001.safetensors"


def test_places_without_a_network_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no network-snapshot-\*"):
        find_network(str(tmp_path))
    with pytest.raises(UserError, match=r"none: no such file or folder"):
        find_network(str(tmp_path / "none"))


@pytest.mark.parametrize(("name", "index"), [("cat", 0), ("wild", 2), ("0", 0), ("2", 2)])
def test_classes_go_by_name_or_number(name: str, index: int) -> None:
    assert class_index(FACTS, name) == index


def test_a_name_that_is_a_number_goes_before_the_number() -> None:
    facts = FACTS.model_copy(update={"class_names": ("2", "1", "0")})
    assert [class_index(facts, name) for name in "012"] == [2, 1, 0]


@pytest.mark.parametrize("name", ["bird", "3", "-1", "", "Cat", "1.0", "²"])
def test_unknown_class_lists_those_there_are(name: str) -> None:
    with pytest.raises(UserError, match=r"no such class; there are 3, .*: cat, dog, wild"):
        class_index(FACTS, name)


def test_class_of_an_unconditional_network_is_refused() -> None:
    with pytest.raises(UserError, match="trained without classes"):
        class_index(tiny_config(class_names=()).facts, "cat")


def test_class_centres_are_the_means_of_w_and_need_no_luck(tmp_path: Path) -> None:
    generator = load_network(str(write_network(tmp_path / "net", tiny_config()))).generator
    c = one_hot(torch.tensor([2, 0]), 3)
    torch.manual_seed(1)
    first = class_center(generator, c)
    state = torch.get_rng_state()
    assert torch.equal(class_center(generator, c), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(class_center(generator, c[1:]), first[1:])
    w = generator.mapping(torch.randn(4000, 16), c[:1].expand(4000, -1))[:, 0]
    torch.testing.assert_close(first[0], w.mean(dim=0), atol=0.1 * float(w.std()), rtol=0)
    assert not torch.allclose(first[0], first[1], atol=0.1 * float(w.std()))
