"""projector.py: from a picture file to a style that generate.py reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import complaint, exit_status, tiny_config, write_network
from picture_helpers import difference, made
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import projector
from dnnlib.logs import logger
from training.generation.projection import ProjectionConfig, TargetDistance
from training.generation.projector import ProjectorConfig, choose_class, project, read_target
from training.generation.synthesis import class_center
from training.pictures import to_uint8
from training.snapshots import load_network

pytest_plugins = ["network_fixtures"]


def pyramid(pixels: Tensor) -> list[Tensor]:
    """Features of these tests: pixels at two scales."""
    return [each / 255 / each[0].numel() ** 0.5 for each in (pixels, F.avg_pool2d(pixels, 2))]


def no_detector(name: str, device: torch.device) -> Callable[[Tensor], list[Tensor]]:
    return pyramid


def projected(outdir: Path, network: Path, target: Path, steps: int = 60, **given: object) -> None:
    config = ProjectorConfig.model_validate(
        {"network": str(network), "target": target, "outdir": outdir, "detector": "own"}
        | {"device": "cpu", "projection": ProjectionConfig(steps=steps)}
        | given
    )
    project(config, no_detector)


@pytest.fixture
def dog(tmp_path: Path, network: Path) -> Path:
    """A dog that the network made."""
    made(tmp_path / "made", network, "--seeds", 3, "--class", "dog")
    return tmp_path / "made" / "seed0003-dog.png"


def test_command_line(
    tmp_path: Path, network: Path, dog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ("--network", network, "--target", dog, "--outdir", out, "--class", "dog")
    capsys.readouterr()
    assert exit_status(projector.main, *options, "--steps", 12, "--video", "yes") == 0
    names = {"proj.png", "target.png", "target-and-proj.png", "projected_w.npz", "proj.mp4"}
    assert {path.name for path in out.iterdir()} == names
    assert np.array_equal(np.asarray(Image.open(out / "target.png")), np.asarray(Image.open(dog)))
    # generate.py makes the same picture of the style.
    again = made(tmp_path / "again", network, "--projected-w", out / "projected_w.npz")
    found = np.asarray(Image.open(out / "proj.png"))
    assert np.array_equal(again["projected_w-0000.png"], found)
    info = Image.open(out / "proj.png").info
    assert (info["class"], info["steps"], info["detector"]) == ("dog", "12", "efficientnet-lite0")
    # EfficientNet's distance falls even in a few steps.
    lines = [line for line in capsys.readouterr().out.splitlines() if "perceptual distance" in line]
    begin, end = (float(line.split("perceptual distance ")[1].split(",")[0]) for line in lines)
    assert lines[0].startswith("mean style") and end < 0.7 * begin


def test_picture_of_the_network_is_found_again(tmp_path: Path, network: Path, dog: Path) -> None:
    projected(tmp_path / "out", network, dog, steps=200, class_name="dog")
    wanted = np.asarray(Image.open(dog)).astype(float)
    found = np.asarray(Image.open(tmp_path / "out" / "proj.png"))
    others = made(tmp_path / "others", network, "--seeds", "10-13", "--class", "dog")
    mean = made(tmp_path / "mean", network, "--seeds", 0, "--class", "dog", "--trunc", 0,
                "--trunc-center", "class")  # fmt: skip

    def pixels(picture: object) -> float:
        return float(np.square(np.asarray(picture) - wanted).mean())

    distance = TargetDistance(pyramid, torch.tensor(wanted / 127.5 - 1).float()[None, None])

    def look(picture: object) -> float:
        return float(distance(torch.tensor(np.asarray(picture) / 127.5 - 1).float()[None, None]))

    for other in (*others.values(), *mean.values()):
        assert pixels(found) < 0.05 * pixels(other)
        assert look(found) < 0.05 * look(other)


def test_same_seed_same_style(tmp_path: Path, network: Path, dog: Path) -> None:
    found = []
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / str(number)
        search = ProjectionConfig(steps=5, seed=seed)
        projected(out, network, dog, class_name="dog", projection=search)
        found.append(np.load(out / "projected_w.npz")["w"])
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])
    assert found[0].shape == (1, 6, 16)
    assert (found[0] == found[0][:, :1]).all()


@pytest.mark.parametrize("space", ["w", "w+"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_shape_and_channels(tmp_path: Path, channels: int, space: str) -> None:
    config = tiny_config((), num_channels=channels, size=(16, 8))
    network = write_network(tmp_path / "any.safetensors", config)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    made(tmp_path / "made", network, "--seeds", 0)
    search = ProjectionConfig.model_validate({"space": space, "steps": 3})
    projected(tmp_path / "out", network, tmp_path / "made" / "seed0000.png", projection=search)
    image = Image.open(tmp_path / "out" / "proj.png")
    assert image.mode == mode and image.size == (16, 8)
    w = np.load(tmp_path / "out" / "projected_w.npz")["w"]
    assert (w == w[:, :1]).all() == (space == "w")


def test_target_is_cut_to_size_and_converted(tmp_path: Path, unconditional: Path) -> None:
    facts = load_network(str(unconditional)).facts  # 16x8 RGB
    pixels = np.zeros((40, 40, 4), dtype=np.uint8)
    pixels[10:30, :20] = (200, 100, 0, 255)  # what the cut keeps: half of it, and nothing
    Image.fromarray(pixels).save(tmp_path / "target.png")
    target = read_target(tmp_path / "target.png", facts)
    assert target.shape == (1, 3, 8, 16) and target.dtype == torch.uint8
    assert target[0, :, 4, 2].tolist() == [200, 100, 0]
    assert target[0, :, 4, 13].tolist() == [255, 255, 255]
    assert int(target[0, 2, 0, 2]) < 30  # the white rows 0 to 9 are cut off
    with pytest.raises(ValueError, match="2 channels"):
        read_target(tmp_path / "target.png", facts.model_copy(update={"num_channels": 2}))


def test_class_is_what_the_classifier_says(
    tmp_path: Path, network: Path, dog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(logger, "info", said.append)
    projected(tmp_path / "out", network, dog, steps=1)
    classifier = load_network(str(network)).players.C
    assert classifier is not None
    image = torch.tensor(np.asarray(Image.open(dog)) / 127.5 - 1).float()[None, None]
    with torch.no_grad():
        best = int(classifier.classify(image, torch.zeros(1, dtype=torch.int64)).argmax())
    name = ("cat", "dog", "wild")[best]
    assert any(line.startswith(f"No --class: {name} (the classifier") for line in said)
    assert Image.open(tmp_path / "out" / "proj.png").info["class"] == name


def test_class_without_a_classifier_looks_most_alike(network: Path) -> None:
    file = load_network(str(network))
    file.players.C = None
    generator = file.generator
    with torch.no_grad():
        center = class_center(generator, torch.eye(3)[2:])
        target = generator.synthesis(center[:, None].expand(-1, 6, -1), noise_mode="const")
        condition, reason = choose_class(file, TargetDistance(pyramid, target), target)
    assert condition.name == "wild" and "most like" in reason


def test_wrong_input(
    tmp_path: Path, network: Path, dog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(target: Path, *options: object) -> str:
        plain = ("--network", network, "--outdir", tmp_path / "out", "--target", target)
        return complaint(capsys, projector.main, *plain, "--steps", 1, *options)

    assert "no.png: cannot be read (No such file" in said(tmp_path / "no.png")
    (tmp_path / "text.png").write_text("no picture")
    assert "not a readable image" in said(tmp_path / "text.png")
    assert "no such class" in said(dog, "--class", "bird")
    assert "one class" in said(dog, "--class", "all")
    assert "there is no 'resnet'" in said(dog, "--detector", "resnet")
    assert "without :fp16" in said(dog, "--detector", "efficientnet-lite0:fp16")
    assert "finite number" in said(dog, "--lr", "nan")
    assert not (tmp_path / "out").exists()


def test_mixture_of_classes(tmp_path: Path, network: Path, dog: Path) -> None:
    search = ProjectionConfig(steps=1, learning_rate=1e-9)
    projected(tmp_path / "out", network, dog, class_name="cat+dog", projection=search)
    assert Image.open(tmp_path / "out" / "proj.png").info["class"] == "cat:0.5+dog:0.5"
    generator = load_network(str(network)).generator
    with torch.no_grad():
        center = class_center(generator, torch.tensor([[0.5, 0.5, 0.0]]))[:, None].expand(-1, 6, -1)
        mean = to_uint8(generator.synthesis(center, noise_mode="const"))[0, 0]
    found = np.asarray(Image.open(tmp_path / "out" / "proj.png"))
    assert difference(found, mean.numpy()) < 0.5
