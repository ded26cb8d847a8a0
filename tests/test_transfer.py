"""A run that starts from another's weights keeps what the two have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from conftest import DATA
from data_helpers import error_line
from network_helpers import exit_status, tiny_config, write_network

import dataset_tool
import train
from training.diffusion import DiffusionConfig
from training.networks.layers import one_hot
from training.players import Players
from training.snapshots import NetworkFile, load_network
from training.transfer import shared_classes, transfer


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> NetworkFile:
    """A network that knows cats, dogs and wild animals."""
    return load_network(
        str(write_network(tmp_path_factory.mktemp("source") / "net.safetensors", tiny_config()))
    )


def transferred(
    source: NetworkFile, class_names: Sequence[str], num_channels: int = 1
) -> tuple[Players, list[str]]:
    config = tiny_config(class_names, num_channels=num_channels).model_copy(update={"seed": 5})
    players = Players(config)
    return players, transfer(players, source, config.facts)


def image(players: Players, label: int) -> torch.Tensor:
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(1))
    c = one_hot(torch.tensor([label]), players.num_classes)
    with torch.no_grad():
        made: torch.Tensor = players.G_ema(z, c, noise_mode="const")
    return made


def judgement(players: Players, label: int) -> torch.Tensor:
    images = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    c = one_hot(torch.tensor([label]), players.num_classes)
    with torch.no_grad():
        logits: torch.Tensor = players.D(images, c, torch.tensor([30]))
    return logits


def test_the_same_classes_keep_everything(source: NetworkFile) -> None:
    players, report = transferred(source, ("cat", "dog", "wild"))
    assert [line.split(":")[0] for line in report] == ["G", "D", "C"]
    for module in ("G", "D", "C"):
        ours, theirs = getattr(players, module), getattr(source.players, module)
        for name, tensor in ours.state_dict().items():
            assert torch.equal(tensor, theirs.state_dict()[name]), name
    torch.testing.assert_close(image(players, 1), image(source.players, 1))


def test_a_class_of_the_same_name_looks_and_is_judged_as_before(source: NetworkFile) -> None:
    players, report = transferred(source, ("bird", "dog"))
    torch.testing.assert_close(image(players, 1), image(source.players, 1))
    torch.testing.assert_close(judgement(players, 1), judgement(source.players, 1))
    assert not torch.allclose(image(players, 0), image(source.players, 0))
    assert "G.mapping.embed.weight: kept 1 of 2 classes, by name" in report
    assert "C.head.bias: kept 1 of 2 classes, by name" in report


def test_the_same_classes_in_another_order_go_by_name(source: NetworkFile) -> None:
    players, _ = transferred(source, ("wild", "cat", "dog"))
    for ours, theirs in ((0, 2), (1, 0), (2, 1)):
        torch.testing.assert_close(image(players, ours), image(source.players, theirs))


def test_without_classes_the_report_says_what_is_new(source: NetworkFile) -> None:
    players, report = transferred(source, ())
    assert any(line.startswith("G.mapping.fc0.weight: new, ") for line in report)
    assert torch.equal(
        players.G.synthesis.b16.conv1.weight,  # type: ignore[union-attr, operator]
        source.players.G_ema.synthesis.b16.conv1.weight,  # type: ignore[union-attr, operator]
    )


def test_other_image_channels_leave_the_rest(source: NetworkFile) -> None:
    _, report = transferred(source, ("cat", "dog", "wild"), num_channels=3)
    new = {line.split(":")[0] for line in report if ": new, " in line}
    assert {"G.synthesis.b16.torgb.weight", "D.b16.fromrgb.weight"} <= new
    assert all("rgb" in name for name in new)


def test_classes_are_matched_by_name(source: NetworkFile) -> None:
    ours = tiny_config(("wild", "bird", "cat")).facts
    assert shared_classes(ours, source.facts) == [(0, 2), (2, 0)]


@pytest.mark.parametrize(
    ("class_names", "kept"),
    [(("3", "b", "c", "d"), "4 of 4 classes, by number"), (("a", "1"), "1 of 2 classes, by name")],
)
def test_classes_of_a_published_network_go_by_number_where_there_are_as_many(
    class_names: tuple[str, ...], kept: str
) -> None:
    published = load_network(str(DATA / "legacy_stylegan2ada.pkl"))
    ours = {"class_names": class_names, "num_classes": len(class_names), "digest": "0" * 64}
    facts = published.facts.model_copy(update=ours)
    changes = {"facts": facts, "seed": 5, "diffusion_d": DiffusionConfig()}
    players = Players(published.config.model_copy(update=changes))
    report = transfer(players, published, facts)
    assert f"D.mapping.embed.weight: kept {kept}" in report
    said = "classes go by number: legacy_stylegan2ada.pkl does not name them"
    assert (said in report) == (len(class_names) == 4)
    if len(class_names) == 4:
        now, before = (each.G_ema.state_dict() for each in (players, published.players))
        assert all(torch.equal(tensor, before[name]) for name, tensor in now.items())


def test_train_starts_from_a_network_and_then_goes_on(
    tmp_path: Path, source: NetworkFile, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "digits.zip"
    options = ("--resolution", 16, "--max-per-class", 2, "--workers", 1)
    assert (
        exit_status(dataset_tool.main, "--source", "builtin:mnist5k", "--dest", data, *options) == 0
    )
    command = (
        "--outdir", tmp_path / "runs", "--data", data, "--cfg", "tiny", "--batch", 8,
        "--kimg", 0.016, "--tick", 0.008, "--device", "cpu",
    )  # fmt: skip
    assert exit_status(train.main, *command, "--resume", source.path) == 0
    assert "tensors copied" in capsys.readouterr().out
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert load_network(str(run_dir)).config.init_digest == source.digest
    assert exit_status(train.main, *command, "--resume", source.path) == 0
    assert "finished already" in capsys.readouterr().out
    assert exit_status(train.main, *command) == 0  # from nothing: a run of its own
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_a_network_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(train.main, "--outdir", tmp_path, "--resume", tmp_path / "no") == 2
    assert "--resume" in error_line(capsys)
