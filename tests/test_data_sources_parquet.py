"""HuggingFace's parquet files and LSUN's lmdb folders."""

from __future__ import annotations

import hashlib
import pickle
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_helpers import converted, pixels, png
from data_layouts import CLASSES, IMAGE_FEATURES, write_parquet

from dnnlib import UserError
from training.data.sources import Source, SourceOptions, open_source

IMAGES = [png(i) for i in range(7)]
LABELS = [2, 0, 1, 1, 0, 2, 2]


def food(folder: Path) -> Path:
    """A download of a HuggingFace data set with two splits, one of two files."""
    write_parquet(
        folder / "data/train-00000-of-00002.parquet",
        {"image": IMAGES[:4], "label": LABELS[:4]},
        IMAGE_FEATURES,
        row_group_size=3,
    )
    write_parquet(
        folder / "data/train-00001-of-00002.parquet",
        {"image": IMAGES[4:], "label": LABELS[4:]},
        IMAGE_FEATURES,
    )
    write_parquet(
        folder / "data/validation-00000-of-00001.parquet",
        {"image": IMAGES[:1], "label": [1]},
        IMAGE_FEATURES,
    )
    (folder / "README.md").write_text("# Food")
    return folder


def images_of(source: Source) -> list[object]:
    return [source.fetch(i) for i in range(len(source.names))]


def test_folder_with_splits(tmp_path: Path) -> None:
    folder = food(tmp_path / "food")
    with pytest.raises(UserError, match=r"has several splits.*train, validation, all"):
        open_source(str(folder))
    with pytest.raises(UserError, match=r"--split test: .*one of train, validation, all"):
        open_source(str(folder), SourceOptions(split="test"))
    train = open_source(str(folder), SourceOptions(split="train"))
    assert images_of(train) == IMAGES and train.class_names == CLASSES
    assert train.labels is not None and train.labels.tolist() == LABELS
    assert len(open_source(str(folder), SourceOptions(split="all")).names) == 8
    pattern = open_source(f"{folder}/data/train-*.parquet")
    assert images_of(pattern) == IMAGES
    one = folder / "data/validation-00000-of-00001.parquet"
    archive = converted(one, tmp_path / "a.zip")
    assert archive.class_names == CLASSES and np.array_equal(archive.read(0), pixels(0))


def test_splits_in_folders(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_parquet(tmp_path / "d" / split / "0000.parquet", {"image": IMAGES[:1], "label": [0]})
    source = open_source(str(tmp_path / "d"), SourceOptions(split="all"))
    assert len(set(source.names)) == 2
    assert len(open_source(str(tmp_path / "d"), SourceOptions(split="test")).names) == 1


def test_any_order_threads_and_processes(tmp_path: Path) -> None:
    count = 700  # more than are remembered
    images = [f"image {i}".encode() for i in range(count)]
    path = write_parquet(tmp_path / "a.parquet", {"img": images}, row_group_size=97)
    source = open_source(str(path))
    order = np.random.default_rng(0).permutation(count)[:60].tolist()
    assert [source.fetch(i) for i in order] == [images[i] for i in order]
    assert images_of(pickle.loads(pickle.dumps(source))) == images
    barrier = threading.Barrier(4)

    def read(start: int) -> bool:
        barrier.wait()
        return all(source.fetch(i) == images[i] for i in range(start, count, 4))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(4)))
    with ProcessPoolExecutor(2, get_context("fork")) as processes:
        assert list(processes.map(source.fetch, range(200, 300))) == images[200:300]


def test_columns_that_explain_themselves(tmp_path: Path) -> None:
    # CIFAR-100's columns, with a thumbnail beside the image.
    features = {
        "img": {"_type": "Image"},
        "fine": {"names": ["a", "b", "c"], "_type": "ClassLabel"},
        "coarse": {"names": ["x", "y"], "_type": "ClassLabel"},
        "text": {"dtype": "string", "_type": "Value"},
    }
    columns = {
        "text": ["?", "?"],
        "thumbnail": IMAGES[5:],
        "img": IMAGES[:2],
        "fine": [2, 0],
        "coarse": [1, 1],
    }
    path = str(write_parquet(tmp_path / "a.parquet", columns, features))
    with pytest.raises(UserError, match=r"labels in fine, coarse; choose with --label-column"):
        open_source(path)
    source = open_source(path, SourceOptions(label_column="coarse"))
    assert images_of(source) == IMAGES[:2] and source.class_names == ("x", "y")
    chosen = SourceOptions(image_column="thumbnail", label_column="fine")
    assert images_of(open_source(path, chosen)) == IMAGES[5:]
    bare = str(write_parquet(tmp_path / "b.parquet", columns))
    with pytest.raises(UserError, match=r"found thumbnail, img among text.*--image-column"):
        open_source(bare)
    for options, message in [
        (SourceOptions(image_column="pic"), "--image-column pic: .* no such column, it has text"),
        (SourceOptions(image_column="text"), "--image-column text: must hold bytes.*string"),
        (SourceOptions(image_column="img", label_column="x"), "--label-column x: .* no such"),
    ]:
        with pytest.raises(UserError, match=message):
            open_source(bare, options)


def test_labels_of_other_kinds(tmp_path: Path) -> None:
    def labels(values: object, column: str = "label") -> Source:
        path = tmp_path / "a.parquet"
        image = pa.array(IMAGES[:2], pa.binary())
        pq.write_table(pa.table({"image": image, column: values}), path)
        return open_source(str(path))

    assert labels(["dog", "cat"]).class_names == ("cat", "dog")
    assert labels(pa.array(["dog", "cat"]).dictionary_encode()).class_names == ("cat", "dog")
    vectors = labels([[0.5, 1.0], [0.0, 2.0]]).labels
    assert vectors is not None and vectors.tolist() == [[0.5, 1.0], [0.0, 2.0]]
    assert labels([0, 1], "caption").labels is None
    for values, found in [([0, -1], "-1"), ([0.5, 1.0], "0.5"), ([0, None], "None")]:
        with pytest.raises(UserError, match=rf"column label: .*a\.parquet\[\d\].*found {found}"):
            labels(values)


def test_bad_parquet_files(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"image": IMAGES, "label": LABELS}, IMAGE_FEATURES)
    whole = path.read_bytes()
    for spoiled in (whole[:-20], whole[:200], b""):
        path.write_bytes(spoiled)
        with pytest.raises(UserError, match=r"a\.parquet: is no whole parquet file"):
            open_source(str(path))
    struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table({"image": pa.array([{"path": "x.png"}], struct)}), path)
    with pytest.raises(UserError, match=r"a\.parquet\[0\]: column image has no bytes of an image"):
        open_source(str(path)).fetch(0)
    write_parquet(tmp_path / "b.parquet", {"photo": IMAGES})
    with pytest.raises(UserError, match=r"b\.parquet: lacks the column image of .*a\.parquet"):
        open_source(str(tmp_path / "*.parquet"), SourceOptions(split="all"))
    write_parquet(tmp_path / "c.parquet", {"label": [1]})
    with pytest.raises(UserError, match=r"c\.parquet: must have one column.*found none"):
        open_source(str(tmp_path / "c.parquet"))
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), path)
    with pytest.raises(UserError, match=r"a\.parquet: has no row"):
        open_source(str(path))


def test_damaged_pages_are_named(tmp_path: Path) -> None:
    noise = [np.random.default_rng(i).bytes(3000) for i in range(9)]
    path = write_parquet(tmp_path / "a.parquet", {"image": noise}, row_group_size=3)
    whole = path.read_bytes()
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    path.write_bytes(whole[:start] + b"\xff" * 20 + whole[start + 20 :])
    source = open_source(str(path))
    assert source.fetch(0) == noise[0]
    with pytest.raises(UserError, match=r"a\.parquet\[3\]: cannot be read"):
        source.fetch(3)
    assert source.fetch(8) == noise[8]


def lsun(folder: Path) -> Path:
    """An lmdb folder as LSUN's: keys are digests, values WebP files."""
    with lmdb.open(str(folder), map_size=2**24) as environment, environment.begin(write=True) as t:
        for i in range(5):
            t.put(key(i), png(i))
    return folder


def key(number: int) -> bytes:
    return hashlib.sha1(bytes([number])).hexdigest().encode()


def test_lsun(tmp_path: Path) -> None:
    path = lsun(tmp_path / "bedroom_train_lmdb")
    source = open_source(str(path))
    order = sorted(range(5), key=key)
    assert [*source.names] == [key(i).decode() for i in order] and source.labels is None
    packed = pickle.dumps(source)
    assert images_of(pickle.loads(packed)) == images_of(source) == [png(i) for i in order]
    assert source.where(0) == f"{path}/{source.names[0]}"
    # The parent has the database open, and every process opens it for itself.
    with ProcessPoolExecutor(2, get_context("fork")) as processes:
        assert list(processes.map(source.fetch, range(5))) == images_of(source)
    assert len(converted(path, tmp_path / "a.zip", "--workers", 2)) == 5


def test_bad_lmdb_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lsun(tmp_path / "lmdb")
    whole = (path / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"data\.mdb: must have \d+ bytes, found \d+; it is trunc"):
        open_source(str(path))
    (path / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match=r"lmdb: is no readable lmdb database"):
        open_source(str(path))
    with lmdb.open(str(tmp_path / "empty")):
        pass
    with pytest.raises(UserError, match=r"empty: the database holds no image"):
        open_source(str(tmp_path / "empty"))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UserError, match=r"pip install lmdb"):
        open_source(str(path))


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"image": IMAGES})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"pip install pyarrow"):
        open_source(str(path))
