"""What calc_metrics.py hands to the metrics: networks, data sets, folders, classifiers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from data_helpers import png, write_zip
from network_helpers import CLASSES, tiny_config

from dnnlib.errors import UserError
from metrics.sources import FakeSource, PathSource, RealSource
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.evaluation import (
    DatasetImages,
    FolderImages,
    LabelPlan,
    NetworkImages,
    NetworkJudge,
    NetworkPaths,
)
from training.generation.synthesis import StyleConfig, Synthesizer
from training.networks.precision import Precision, set_precision
from training.options import make_config, resolve_options
from training.pictures import to_uint8
from training.players import Players
from training.presets import PresetName
from training.snapshots import load_network

pytest_plugins = ["network_fixtures"]
CPU = torch.device("cpu")
COUNTS = {"cat": 9, "dog": 0, "wild": 1}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    """Ten grey images of 16x16, nine cats and a wild one."""
    names = [f"{name}/{i}.png" for name, count in COUNTS.items() for i in range(max(count, 1))]
    folder = tmp_path_factory.mktemp("data")
    files = {name: png(seed, 16, 16, 1) for seed, name in enumerate(names)}
    dataset = open_dataset(DataConfig(path=str(write_zip(folder / "d.zip", files))))
    dataset.labels = dataset.labels.clone()
    dataset.labels[dataset.labels == 1] = 2
    return dataset


@pytest.fixture
def centers(network: Path) -> Synthesizer:
    """Truncated to class centres there are as many pictures as classes."""
    generator = load_network(str(network)).generator
    return Synthesizer(generator, StyleConfig(trunc=0, trunc_center="class"))


def test_generated_images_follow_the_labels_of_the_data(
    centers: Synthesizer, dataset: ImageDataset
) -> None:
    for plan, expected in (("data", None), ("even", [14, 13, 13])):
        kind: LabelPlan = "data" if plan == "data" else "even"
        source: FakeSource = NetworkImages(centers, dataset, {}, labels=kind)
        images = torch.cat(list(source.batches(range(40), 16)))
        assert images.dtype == torch.uint8 and images.shape == (40, 1, 16, 16)
        means = centers.pictures([0, 0, 0], torch.arange(3))
        of_class = (images[:, None] != means).float().mean(dim=[2, 3, 4]).argmin(dim=1)
        labels = source.labels(range(40))
        assert labels is not None and torch.equal(labels, of_class)
        counts = torch.bincount(of_class, minlength=3).tolist()
        assert counts == expected if expected else counts[1] == 0 and 0 < counts[2] < 20


def test_image_i_of_a_seed_is_always_the_same(network: Path, dataset: ImageDataset) -> None:
    synthesizer = Synthesizer(
        load_network(str(network)).generator, StyleConfig(noise_mode="random")
    )
    source = NetworkImages(synthesizer, dataset, {"network": "x"})
    images = torch.cat(list(source.batches(range(30), 16)))
    again = torch.cat(list(source.batches(range(7, 29), 5)))
    assert torch.equal(again, images[7:29])
    assert torch.equal(next(source.batches([21], 1)), images[21:22])
    other = NetworkImages(synthesizer, dataset, {}, seed=1)
    assert not torch.equal(torch.cat(list(other.batches(range(30), 16))), images)
    style = synthesizer.style.model_dump()
    assert source.description == {"network": "x", **style, "seed": 0, "labels": "data"}


def test_real_images_come_as_asked(dataset: ImageDataset) -> None:
    mirrored = ImageDataset(dataset.archive, dataset.config.model_copy(update={"mirror": True}))
    reals: RealSource = DatasetImages(mirrored)
    assert (reals.num_images, reals.mirror, reals.digest) == (22, True, mirrored.digest)
    assert reals.class_names == CLASSES and torch.equal(reals.labels, mirrored.labels)
    batches = list(reals.batches([5, 21, 0, 5], 3))
    assert [len(batch) for batch in batches] == [3, 1]
    expected = torch.stack([mirrored[index][0] for index in (5, 21, 0, 5)])
    assert torch.equal(torch.cat(batches), expected)


def test_a_folder_comes_in_a_fixed_random_order_with_classes_by_name(tmp_path: Path) -> None:
    files = {f"{name}/{i}.png": png(i, 4, 4) for name in ("dog", "cat") for i in range(20)}
    dataset = open_dataset(DataConfig(path=str(write_zip(tmp_path / "made.zip", files))))
    source: FakeSource = FolderImages(dataset, ("wild", "dog", "cat"))
    labels = source.labels(range(40))
    assert labels is not None and sorted(labels.tolist()) == [1] * 20 + [2] * 20
    assert 5 < int((labels[:20] == 1).sum()) < 15  # any first part is a fair sample
    images = torch.cat(list(source.batches(range(40), 7)))
    by_name = {"dog": dataset.class_names.index("dog"), "cat": dataset.class_names.index("cat")}
    for number, name in ((1, "dog"), (2, "cat")):
        ours = {image.numpy().tobytes() for image in images[labels == number]}
        theirs = {
            image.numpy().tobytes() for image, label in dataset if int(label) == by_name[name]
        }
        assert ours == theirs
    assert torch.equal(torch.cat(list(source.batches([3, 9], 2))), images[[3, 9]])
    assert FolderImages(dataset, ("cat", "wild")).labels([0]) is None
    assert FolderImages(dataset, ()).labels([]) is None


def test_paths_are_those_of_the_generator(network: Path, dataset: ImageDataset) -> None:
    generator = load_network(str(network)).generator
    synthesizer = Synthesizer(generator, StyleConfig(trunc=0.3, noise_mode="random"))
    paths: PathSource = NetworkPaths(synthesizer, dataset, seed=4, labels="even")
    assert (paths.z_dim, paths.seed) == (16, 4)
    assert paths.settings.items() >= {"trunc": 1.0, "noise_mode": "random"}.items()
    z, labels = torch.randn(5, 16), paths.labels(range(5))
    assert labels.tolist() == [0, 1, 2, 0, 1]
    ws = paths.mapping(z, labels)
    whole = generator.mapping(z, torch.nn.functional.one_hot(labels, 3).float())
    torch.testing.assert_close(ws, whole)  # without truncation
    images = paths.synthesis(ws, range(5))
    assert images.dtype == torch.float32 and images.shape == (5, 1, 16, 16)
    assert torch.equal(paths.synthesis(ws[3:4], [3]).argmax(), images[3:4].argmax())
    quiet = to_uint8(generator.synthesis(ws, noise_mode="none"))
    assert not torch.equal(to_uint8(images), quiet)
    assert not torch.equal(paths.synthesis(ws[:1], [0]), paths.synthesis(ws[:1], [1]))


@pytest.mark.parametrize("kind", ["tiny", "sngan32"])
def test_path_lengths_do_not_follow_the_precision_of_the_images(
    dataset: ImageDataset, kind: PresetName
) -> None:
    config = make_config(
        resolve_options(kind, {}, 16, 16), DataConfig(path=""), tiny_config().facts
    )
    generator = Players(config).eval().G_ema
    z, labels = torch.randn(3, generator.z_dim), torch.tensor([0, 1, 2])

    def images(precision: Precision) -> tuple[torch.Tensor, torch.Tensor]:
        set_precision(generator, precision, 4)
        paths = NetworkPaths(Synthesizer(generator, StyleConfig()), dataset)
        assert paths.settings["precision"] == "fp32"
        ws = paths.mapping(z, labels)
        return paths.synthesis(ws, range(3)), generator.synthesis(ws, noise_mode="const")

    (exact, plain), (ours, rounded) = images("fp32"), images("bf16")
    assert torch.equal(ours, exact)
    assert not torch.equal(rounded, plain)  # the images themselves stay in 16 bits


def test_batches_are_whole_where_groups_do_not_divide_them(dataset: ImageDataset) -> None:
    config = tiny_config(size=(48, 32))
    synthesizer = Synthesizer(Players(config).eval().G_ema, StyleConfig())
    assert synthesizer.group == 10
    source = NetworkImages(synthesizer, dataset, {})
    whole = list(source.batches(range(70), 16))
    assert [len(batch) for batch in whole] == [16, 16, 16, 16, 6]
    shares = [*source.batches(range(32), 16), *source.batches(range(32, 70), 16)]
    assert all(torch.equal(*pair) for pair in zip(whole, shares, strict=True))
    assert [len(batch) for batch in source.batches(range(5), 3)] == [3, 2]
    assert not list(source.batches([], 4))


def test_a_judge_numbers_classes_as_the_data_does(network: Path) -> None:
    file = load_network(str(network))
    assert file.players.C is not None
    images = torch.randint(256, (6, 1, 16, 16), dtype=torch.uint8)
    zeros = torch.zeros(6, dtype=torch.int64)
    expected = file.players.C.classify(images / 127.5 - 1, zeros)
    ours = NetworkJudge(file, CLASSES, CPU, own=True)
    turned = NetworkJudge(file, ("wild", "cat", "dog"), CPU, own=False)
    torch.testing.assert_close(ours(images), expected)
    torch.testing.assert_close(turned(images), expected[:, [2, 0, 1]])
    assert (ours.name, turned.name) == ("own-classifier", "classifier")
    assert (ours.digest, ours.num_features, ours.resize) == (file.digest, 3, "none-16x16")
    with pytest.raises(UserError, match="sees 16x16 grey images, found 8x8 RGB"):
        ours(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(UserError, match="tells cat, dog, wild apart, and the data has cat, dog"):
        NetworkJudge(file, ("cat", "dog"), CPU, own=True)


def test_a_judge_is_a_network_with_a_classifier(unconditional: Path) -> None:
    with pytest.raises(UserError, match="has no classifier"):
        NetworkJudge(load_network(str(unconditional)), ("a",), CPU, own=False)
