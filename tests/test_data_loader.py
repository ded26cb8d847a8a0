"""The data set, the shuffled stream and the loaders."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_helpers import UNHURRIED, labelled, pixels, png, write_zip
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dnnlib import UserError
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.data.loader import Batch, StreamingLoader, make_loader
from training.data.sampler import BatchIndices, ShuffledStream

CPU = torch.device("cpu")
LABELS: list[object] = [2, 0, 1, 0, 2, 2, 1]
NAMES = ["cat", "dog", "cow"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(write_zip(tmp_path / "data.zip", labelled(LABELS, NAMES)))


def test_items_attributes_and_types(path: str) -> None:
    dataset = open_dataset(DataConfig(path=path, resolution=(6, 4)))
    image, label = dataset[3]
    assert image.dtype == torch.uint8 and label.dtype == torch.int64 and label.item() == 0
    assert np.array_equal(image.numpy().transpose(1, 2, 0), pixels(3))
    assert (dataset.width, dataset.height, dataset.num_channels) == (6, 4, 3)
    assert dataset.class_names == tuple(NAMES) and dataset.num_classes == 3
    assert dataset.labels.tolist() == LABELS and dataset.class_counts.tolist() == [2, 2, 3]
    assert dataset.digest == dataset.archive.digest()
    dataset.check_classes()


def test_mirror_doubles_with_flipped_copies(path: str) -> None:
    dataset = open_dataset(DataConfig(path=path, mirror=True))
    assert len(dataset) == 14 and dataset.labels.tolist() == LABELS * 2
    assert np.array_equal(dataset[7 + 3][0].numpy().transpose(1, 2, 0), pixels(3)[:, ::-1])
    images = dataset.load_images(threads=2)
    assert all(torch.equal(images[i], dataset[i][0]) for i in range(14))
    with pytest.raises(IndexError):
        dataset[14]


@UNHURRIED
@given(st.lists(st.integers(0, 13), max_size=6), st.booleans())
def test_batches_hold_their_images(
    tmp_path_factory: pytest.TempPathFactory, indices: list[int], grey: bool
) -> None:
    folder = tmp_path_factory.mktemp("batch")
    files = {f"{i}.png": png(i, channels=1 if grey else 3) for i in range(7)}
    dataset = open_dataset(DataConfig(path=str(write_zip(folder / "a.zip", files)), mirror=True))
    batch = dataset.read_batch(indices)
    assert batch.shape == (len(indices), 1 if grey else 3, 4, 6) and batch.is_contiguous()
    for image, index in zip(batch, indices, strict=True):
        expected = pixels(index % 7, channels=1 if grey else 3)
        expected = expected[:, ::-1] if index >= 7 else expected
        assert np.array_equal(image.numpy().transpose(1, 2, 0), expected)


def test_subset_is_drawn_by_seed_and_keeps_order(path: str) -> None:
    def chosen(seed: int) -> list[int]:
        dataset = open_dataset(DataConfig(path=path, subset=4, seed=seed))
        originals = [pixels(i) for i in range(7)]
        images = [dataset[i][0].numpy().transpose(1, 2, 0) for i in range(len(dataset))]
        found = [
            next(i for i, image in enumerate(originals) if np.array_equal(image, x)) for x in images
        ]
        assert dataset.labels.tolist() == [LABELS[i] for i in found]
        return found

    assert chosen(0) == chosen(0) == sorted(chosen(0)) and len(set(chosen(0))) == 4
    assert len({tuple(chosen(seed)) for seed in range(6)}) > 1
    assert len(open_dataset(DataConfig(path=path, subset=100))) == 7


def test_unconditional_view(path: str) -> None:
    dataset = open_dataset(DataConfig(path=path, use_labels=False))
    assert dataset.num_classes == 0 and dataset.class_names == ()
    assert dataset.labels.tolist() == [0] * 7 and len(dataset.class_counts) == 0
    dataset.check_classes()


def test_digest_follows_the_selection(path: str) -> None:
    configs = [
        DataConfig(path=path),
        DataConfig(path=path, mirror=True),
        DataConfig(path=path, subset=3),
        DataConfig(path=path, subset=3, seed=1),
        DataConfig(path=path, use_labels=False),
    ]
    assert len({open_dataset(config).digest for config in configs}) == len(configs)
    same = DataConfig(path=path, subset=7, use_labels=True)
    assert open_dataset(same).digest == open_dataset(configs[0]).digest


def test_wrong_requests_are_told(tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError, match="--resolution asks for 8x8, the images are 6x4"):
        open_dataset(DataConfig(path=path, resolution=(8, 8)))
    bare = str(write_zip(tmp_path / "bare.zip", {"a.png": png(0)}))
    assert open_dataset(DataConfig(path=bare)).num_classes == 0
    with pytest.raises(UserError, match="no labels"):
        open_dataset(DataConfig(path=bare, use_labels=True))
    vectors = str(write_zip(tmp_path / "vectors.zip", labelled([[0.0, 1.0], [1.0, 0.0]])))
    with pytest.raises(UserError, match="vectors of 2 numbers"):
        open_dataset(DataConfig(path=vectors))
    assert open_dataset(DataConfig(path=vectors, use_labels=False)).num_classes == 0
    for bad in ({"subset": 0}, {"seed": -1}, {"resolution": (0, 4)}, {"mirrored": True}):
        with pytest.raises(ValidationError):
            DataConfig.model_validate({"path": path} | bad)


def test_class_without_image(tmp_path: Path) -> None:
    path = str(write_zip(tmp_path / "a.zip", labelled([0, 2], NAMES)))
    with pytest.raises(UserError, match="1 of 3 classes have no image, the first is 'dog'"):
        open_dataset(DataConfig(path=path)).check_classes()


@UNHURRIED
@given(st.integers(1, 12), st.integers(0, 2**40), st.integers(0, 60), st.integers(1, 30))
def test_stream_depends_on_position_alone(n: int, seed: int, start: int, count: int) -> None:
    whole = ShuffledStream(n, seed).indices(0, start + count)
    assert torch.equal(ShuffledStream(n, seed).indices(start, count), whole[start:])
    for epoch in whole.split(n)[:-1]:
        assert sorted(epoch.tolist()) == list(range(n))


def test_stream_reshuffles_by_epoch_and_seed() -> None:
    def epochs(seed: int) -> list[list[int]]:
        return ShuffledStream(50, seed).indices(0, 200).view(4, 50).tolist()

    assert len({tuple(epoch) for seed in range(3) for epoch in epochs(seed)}) == 12


@UNHURRIED
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 3))
def test_ranks_share_the_global_batch(size: int, batch: int, steps: int) -> None:
    start = steps * size * batch
    parts = [
        next(iter(BatchIndices(ShuffledStream(11, 5), batch, start, rank, size)))
        for rank in range(size)
    ]
    expected = ShuffledStream(11, 5).indices(start, size * batch)
    assert torch.equal(torch.cat(parts), expected)


def batches(
    dataset: ImageDataset, count: int, start_nimg: int, workers: int, limit: int
) -> list[Batch]:
    loader = make_loader(
        dataset, 4, 1, start_nimg, CPU, workers, rank=1, size=2, resident_limit_bytes=limit
    )
    return list(islice(loader, count))


def same(ours: list[Batch], theirs: list[Batch]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
        for a, b in zip(ours, theirs, strict=True)
    )


def test_resident_and_streaming_batches_are_equal_and_resumable(path: str) -> None:
    dataset = open_dataset(DataConfig(path=path, mirror=True))
    whole = batches(dataset, 8, 0, 1, 2**20)
    assert whole[0].images.shape == (4, 3, 4, 6) and whole[0].images.dtype == torch.uint8
    assert whole[0].labels.dtype == torch.int64
    for workers in (0, 1, 2):
        assert same(batches(dataset, 8, 0, workers, 0), whole)
    for limit in (0, 2**20):
        assert same(batches(dataset, 3, 5 * 8, 0, limit), whole[5:])


class _Host(TorchDispatchMode):
    """Notes the images of the largest tensor that is made in the host's memory."""

    largest = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.device == CPU and result.ndim == 4:
            self.largest = max(self.largest, len(result))
        return result


@pytest.mark.parametrize("mirror", [False, True])
def test_images_go_to_the_device_a_few_at_a_time(path: str, mirror: bool) -> None:
    dataset = open_dataset(DataConfig(path=path, mirror=mirror))
    meta = torch.device("meta")  # takes tensors as a GPU does
    with pytest.MonkeyPatch.context() as patch, _Host() as host:
        patch.setattr("training.data.dataset._CHUNK", 3)
        images = next(make_loader(dataset, 2, 0, 0, meta, 0)).images
    assert images.device == meta and images.shape == (2, 3, 4, 6)
    assert host.largest == 3


def test_batches_pair_images_with_their_labels(path: str) -> None:
    for limit in (0, 2**20):
        batch = batches(open_dataset(DataConfig(path=path)), 1, 0, 0, limit)[0]
        for image, label in zip(batch.images, batch.labels, strict=True):
            picture = image.numpy().transpose(1, 2, 0)
            match = [i for i in range(7) if np.array_equal(pixels(i), picture)]
            assert LABELS[match[0]] == label


def test_the_limit_counts_the_pixels(path: str) -> None:
    dataset = open_dataset(DataConfig(path=path))
    size = 7 * 3 * 4 * 6

    def streams(limit: int) -> bool:
        loader: Iterator[Batch] = make_loader(dataset, 2, 0, 0, CPU, 0, resident_limit_bytes=limit)
        return isinstance(loader, StreamingLoader)

    assert streams(size - 1) and not streams(size)


def test_loaders_leave_the_global_random_state_alone(path: str) -> None:
    before = torch.get_rng_state()
    for limit in (0, 2**20):
        batches(open_dataset(DataConfig(path=path)), 2, 0, 0, limit)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("workers", "limit"), [(0, 2**20), (2, 2**20), (0, 0), (2, 0)])
def test_unreadable_image_is_one_line_from_any_loader(
    tmp_path: Path, workers: int, limit: int
) -> None:
    files = labelled([0, 1, 0]) | {"00000/img00000002.png": png(2)[:40]}
    dataset = open_dataset(DataConfig(path=str(write_zip(tmp_path / "a.zip", files))))
    with pytest.raises(UserError, match=r"img00000002\.png: is not a readable image") as caught:
        batches(dataset, 2, 0, workers, limit)
    assert "Traceback" not in str(caught.value)


def test_dead_worker_ends_with_a_message(path: str) -> None:
    handler = signal.getsignal(signal.SIGCHLD)
    loader = make_loader(
        open_dataset(DataConfig(path=path)), 2, 0, 0, CPU, 1, resident_limit_bytes=0
    )
    assert signal.getsignal(signal.SIGCHLD) is handler
    next(loader)
    assert isinstance(loader, StreamingLoader)
    os.kill(loader._batches._workers[0].pid, signal.SIGKILL)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="--workers: a data worker died"):
        for _ in loader:
            pass
