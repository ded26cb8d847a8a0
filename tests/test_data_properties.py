"""Images and labels come back bit by bit, by whatever way; each is seen once an epoch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from data_helpers import pixels, write_folder, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.archive import ImageArchive
from training.data.convert import ConvertConfig, convert
from training.data.dataset import DataConfig, open_dataset
from training.data.images import Pixels, encode_image
from training.data.sampler import BatchIndices, ShuffledStream

FEW = settings(max_examples=20, deadline=None)
sides = st.integers(1, 9)
channels = st.sampled_from([1, 3, 4])
counts = st.integers(1, 20)
vectors = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2)


def images_of(count: int, height: int, width: int, depth: int) -> list[Pixels]:
    return [pixels(seed, height, width, depth) for seed in range(count)]


def files_of(images: Sequence[Pixels], labels: Sequence[Any] | None) -> dict[str, bytes]:
    """Files of a data set in an order that is not that of their names, and a dataset.json."""
    names = [f"{index % 2}/img{index:03d}.png" for index in range(len(images))]
    named = None if labels is None else list(zip(names, labels, strict=True))[::-1]
    files = {name: encode_image(image, "png") for name, image in zip(names, images, strict=True)}
    return files | {"dataset.json": json.dumps({"labels": named}).encode()}


def in_order_of_names(items: Sequence[Any]) -> list[Any]:
    return [*items[::2], *items[1::2]]


@pytest.mark.parametrize("dest", ["made.zip", "made"])
@pytest.mark.parametrize("write", [write_zip, write_folder])
@FEW
@given(data=st.data(), count=counts, height=sides, width=sides, depth=channels)
def test_a_converted_data_set_holds_what_the_source_held(
    write: Any,
    dest: str,
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    count: int,
    height: int,
    width: int,
    depth: int,
) -> None:
    kind = data.draw(st.sampled_from([st.integers(0, 30), vectors, None]))
    labels = kind if kind is None else data.draw(st.lists(kind, min_size=count, max_size=count))
    images = images_of(count, height, width, depth)
    folder = tmp_path_factory.mktemp("any")
    source = write(folder / "source", files_of(images, labels))
    convert(ConvertConfig(source=str(source), dest=str(folder / dest), workers=1))
    archive = ImageArchive(folder / dest)
    assert archive.shape == (height, width, depth) and len(archive) == count
    for index, expected in enumerate(in_order_of_names(images)):
        assert np.array_equal(archive.read(index), expected)
    if labels is None:
        assert archive.labels is None
    else:
        assert archive.labels is not None
        assert archive.labels.tolist() == in_order_of_names(labels)


@FEW
@given(count=counts, height=sides, width=sides, depth=channels, seed=st.integers(0, 2**31))
def test_the_data_set_gives_the_arrays_that_went_in(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    height: int,
    width: int,
    depth: int,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    x = np.stack(images_of(count, height, width, depth))
    y = np.random.default_rng(seed).integers(0, 5, count)
    np.savez(folder / "arrays.npz", x=x, y=y)
    dest = str(folder / "a.zip")
    convert(ConvertConfig(source=str(folder / "arrays.npz"), dest=dest, workers=1))
    dataset = open_dataset(DataConfig(path=dest, mirror=True))
    expected = torch.from_numpy(np.concatenate([x, x[:, :, ::-1]])).permute(0, 3, 1, 2)
    assert torch.equal(dataset.load_images(1), expected)
    assert torch.equal(dataset.read_batch(range(2 * count)), expected)
    assert dataset.labels.tolist() == [*y, *y]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 30),
    seed=st.integers(0, 2**40),
    batch=st.integers(1, 7),
    size=st.integers(1, 5),
    begun=st.integers(0, 9),
)
def test_every_image_is_seen_once_an_epoch_by_any_number_of_processes(
    n: int, seed: int, batch: int, size: int, begun: int
) -> None:
    """From wherever a run goes on: what all ranks see, step by step, is one stream of epochs."""
    start, steps = begun * batch * size, -(-2 * n // (batch * size)) + 1
    ranks = [
        list(islice(BatchIndices(ShuffledStream(n, seed), batch, start, rank, size), steps))
        for rank in range(size)
    ]
    seen = torch.cat([part for step in zip(*ranks, strict=True) for part in step])
    whole_epoch = -start % n
    for first in range(whole_epoch, len(seen) - n + 1, n):
        assert sorted(seen[first : first + n].tolist()) == list(range(n))
    assert seen[:whole_epoch].unique().numel() == whole_epoch  # the rest of the one begun
