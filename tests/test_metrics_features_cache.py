"""Kept features are those of the same pictures and detector, and whole."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from detector_helpers import logged_warnings, noise
from metrics_helpers import Pixels, Reals

from dnnlib.files import cache_dir
from metrics.features import cache_entry


def reals(count=20, **facts):
    return Reals(noise(count, 3, 2, 2), **facts)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def kept():
    """An entry that holds something, and what."""
    entry, features = cache_entry(Pixels(), reals(), 20), torch.rand(20, 12)
    assert entry.load() is None
    entry.save(features)
    return entry, features


def test_features_come_back_as_they_were(kept):
    with logged_warnings() as warnings:
        assert torch.equal(cache_entry(Pixels(), reals(), 20).load(), kept[1])
    assert warnings == []


CHANGES = {
    "name": (Pixels(name="others"), reals(), 20),
    "digest": (Pixels(digest="def"), reals(), 20),
    "resize": (Pixels(resize="bilinear"), reals(), 20),
    "precision": (Pixels(precision="fp16"), reals(), 20),
    "data": (Pixels(), reals(digest="other"), 20),
    "mirror": (Pixels(), reals(mirror=True), 20),
    "images": (Pixels(), reals(21), 20),
    "count": (Pixels(), reals(), 19),
}


@pytest.mark.parametrize(("detector", "of", "count"), CHANGES.values(), ids=CHANGES)
def test_features_of_anything_else_are_others(detector, of, count, kept):
    other = cache_entry(detector, of, count)
    assert other.path != kept[0].path
    assert other.load() is None


def test_a_file_under_a_wrong_name_is_not_believed(kept):
    other = cache_entry(Pixels(), reals(mirror=True), 20)
    kept[0].path.rename(other.path)
    with logged_warnings() as warnings:
        assert other.load() is None
    assert len(warnings) == 1 and str(other.path) in warnings[0]


def test_names_of_own_detectors_make_no_paths():
    entry = cache_entry(Pixels(name="../../me: \nyou"), reals(), 20)
    assert entry.path.parent == cache_dir() / "features"
    assert entry.path.name.startswith(".._.._me___you-")


DAMAGES = {
    "empty": lambda data: b"",
    "cut in the length": lambda data: data[:7],
    "cut in the header": lambda data: data[:100],
    "cut in the numbers": lambda data: data[:-500],
    "cut at the end": lambda data: data[:-1],
    "too long": lambda data: data + b"x",
    "one bit": lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
    "garbage": lambda data: b"\xff" * 300,
    "no object": lambda data: b"\x01" + bytes(7) + b"3" + data,
    "endless header": lambda data: data[:5] + b"\x01" + data[6:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_no_features_and_are_replaced(damage, kept):
    entry, features = kept
    entry.path.write_bytes(damage(entry.path.read_bytes()))
    with logged_warnings() as warnings:
        assert entry.load() is None
    assert len(warnings) == 1 and str(entry.path) in warnings[0]
    entry.save(features)
    assert torch.equal(entry.load(), features)


def test_an_unwritable_cache_is_a_warning(kept):
    entry, features = kept
    entry.path.unlink()
    entry.path.mkdir()
    with logged_warnings() as warnings:
        assert entry.load() is None
        entry.save(features)
    unreadable, unwritten = warnings
    assert "cannot be read" in unreadable and "not kept" in unwritten
    assert list(entry.path.parent.iterdir()) == [entry.path]


def _write_and_read(seed):
    """Write features of one value over and over; whether every read was of one value, too."""
    entry = cache_entry(Pixels(), reals(3000), 3000)
    for _ in range(20):
        entry.save(torch.full((3000, 12), float(seed)))
        found = entry.load()
        if found is None or not bool((found == found[0, 0]).all()):
            return False
    return True


def test_many_writers_leave_a_whole_file():
    fork = multiprocessing.get_context("fork")
    # A fork has none of its parent's OpenMP threads, and would wait for them.
    with ProcessPoolExecutor(3, fork, torch.set_num_threads, (1,)) as pool:
        assert list(pool.map(_write_and_read, range(3))) == [True] * 3
    assert len(list((cache_dir() / "features").iterdir())) == 1
    assert cache_entry(Pixels(), reals(3000), 3000).load() is not None
