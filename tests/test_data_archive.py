"""The archive reader: layouts, labels, digest, and every line for what users get wrong."""

from __future__ import annotations

import json
import pickle
import stat
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from data_helpers import labelled, pixels, png, write_folder, write_zip

from dnnlib import UserError
from training.data.archive import ImageArchive

Writer = Callable[[Path, Mapping[str, bytes]], Path]
CLASS_FOLDERS = {"dog/b.png": png(1), "cat/a.png": png(0), "dog/c.png": png(2)}


@pytest.fixture(params=[write_zip, write_folder])
def write(request: pytest.FixtureRequest) -> Writer:
    writer: Writer = request.param
    return writer


def classes_of(archive: ImageArchive) -> dict[str, str]:
    """Class name of each file."""
    assert archive.labels is not None
    return {
        name: archive.class_names[label]
        for name, label in zip(archive.names, archive.labels, strict=True)
    }


def test_images_are_sorted_and_decoded(tmp_path: Path, write: Writer) -> None:
    files = {"b.png": png(1), "a.png": png(0), "notes.txt": b"x", ".hidden.png": b"x"}
    archive = ImageArchive(write(tmp_path / "data", files | {"__MACOSX/a.png": b"x"}))
    assert archive.names == ("a.png", "b.png") and archive.shape == (4, 6, 3)
    assert not archive.has_labels and archive.class_names == ()
    assert np.array_equal(archive.read(1), pixels(1))


def test_dataset_json_with_names(tmp_path: Path, write: Writer) -> None:
    archive = ImageArchive(write(tmp_path / "data", labelled([1, 0, 1], ["cat", "dog"])))
    assert archive.labels is not None and archive.labels.tolist() == [1, 0, 1]
    assert archive.labels.dtype == np.int64 and archive.class_names == ("cat", "dog")


def test_dataset_json_without_names_or_labels(tmp_path: Path) -> None:
    archive = ImageArchive(write_zip(tmp_path / "a.zip", labelled([0, 2])))
    assert archive.class_names == ("0", "1", "2")
    # {"labels": null} says that folders are no classes.
    bare = write_zip(tmp_path / "b.zip", CLASS_FOLDERS | {"dataset.json": b'{"labels": null}'})
    assert not ImageArchive(bare).has_labels


def test_vector_labels(tmp_path: Path) -> None:
    archive = ImageArchive(write_zip(tmp_path / "a.zip", labelled([[0.5, 1], [0.25, -2]])))
    assert archive.labels is not None and archive.labels.tolist() == [[0.5, 1], [0.25, -2]]
    assert archive.has_labels and archive.class_names == ()


@pytest.mark.parametrize("top", ["", "animals/", "my/data/animals/"])
def test_class_folders(tmp_path: Path, write: Writer, top: str) -> None:
    files = {top + name: data for name, data in CLASS_FOLDERS.items()}
    archive = ImageArchive(write(tmp_path / "data", files))
    assert archive.class_names == ("cat", "dog")
    assert {name: name.split("/")[-2] for name in archive.names} == classes_of(archive)


def test_folders_of_unlabelled_archives_are_no_classes(tmp_path: Path) -> None:
    shards = {f"{shard:05d}/img{shard:08d}.png": png(shard) for shard in range(3)}
    assert not ImageArchive(write_zip(tmp_path / "a.zip", shards)).has_labels


@pytest.mark.parametrize("list_name", ["labels.json", "set/labels.json"])
@pytest.mark.parametrize("prefix", ["training_dataset_folder/", "elsewhere\\set\\", ""])
def test_dudgan_list(tmp_path: Path, write: Writer, list_name: str, prefix: str) -> None:
    # The list numbers classes its own way (dog 0); paths may begin with any folder.
    separator = "\\" if "\\" in prefix else "/"
    pairs = [[f"{prefix}dog{separator}{n}.png", 0] for n in "cb"]
    pairs += [[f"{prefix}cat{separator}a.png", 1]]
    files = {f"set/{name}": data for name, data in CLASS_FOLDERS.items()}
    files[list_name] = json.dumps(pairs).encode()
    archive = ImageArchive(write(tmp_path / "data", files))
    assert archive.class_names == ("dog", "cat")
    assert classes_of(archive) == {
        "set/cat/a.png": "cat",
        "set/dog/b.png": "dog",
        "set/dog/c.png": "dog",
    }


def test_dudgan_list_across_folders_numbers_the_classes(tmp_path: Path) -> None:
    pairs = [["cat/a.png", 0], ["dog/b.png", 1], ["dog/c.png", 0]]
    files = CLASS_FOLDERS | {"list.json": json.dumps(pairs).encode()}
    assert ImageArchive(write_zip(tmp_path / "a.zip", files)).class_names == ("0", "1")


def test_other_json_beside_class_folders_is_ignored(tmp_path: Path) -> None:
    files = CLASS_FOLDERS | {"about.json": b'{"author": "me"}'}
    assert ImageArchive(write_zip(tmp_path / "a.zip", files)).class_names == ("cat", "dog")


def test_json_about_single_images_is_not_read(
    tmp_path: Path, write: Writer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.layouts.logger.propagate", True)
    images = {f"{index}.png": png(index) for index in range(5)}
    about = {f"{index}.json": b'["1.png", 1]' for index in range(4)} | {"4.png.json": b"{"}
    assert ImageArchive(write(tmp_path / "data", images | about)).labels is None
    assert caplog.text == ""


def test_json_without_labels_is_told_once(
    tmp_path: Path, write: Writer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.layouts.logger.propagate", True)
    notes = {f"notes{index}.json": b'{"Dear": "diary"}' for index in range(3)}
    archive = ImageArchive(write(tmp_path / "data", CLASS_FOLDERS | notes))
    assert archive.class_names == ("cat", "dog")
    (message,) = {record.message for record in caplog.records}
    assert "notes0.json and 2 more files hold no list" in message
    broken = write(tmp_path / "broken", CLASS_FOLDERS | {"list.json": b'[["cat/a.png", 0], ['})
    with pytest.raises(UserError, match=r"list.json: is not valid JSON .* mend or remove it"):
        ImageArchive(broken)


def read_first(archive: ImageArchive) -> bytes:
    return archive.read(0).tobytes()


def test_archives_travel_to_other_processes(tmp_path: Path) -> None:
    archive = ImageArchive(write_zip(tmp_path / "a.zip", labelled([0, 1])))
    archive.read(0)
    assert np.array_equal(pickle.loads(pickle.dumps(archive)).read(1), pixels(1))
    # A forked process inherits the open zip and must not share its file position.
    with ProcessPoolExecutor(2, get_context("fork")) as pool:
        assert set(pool.map(read_first, [archive] * 8)) == {pixels(0).tobytes()}


def test_digest_tells_contents_apart(tmp_path: Path) -> None:
    files = labelled([0, 1], ["cat", "dog"])
    digest = ImageArchive(write_zip(tmp_path / "a.zip", files)).digest()
    assert ImageArchive(write_folder(tmp_path / "folder", files)).digest() == digest
    others = [
        labelled([1, 0], ["cat", "dog"]),
        labelled([0, 1], ["cat", "cow"]),
        files | {"00000/img00000001.png": png(7)},
        {name.replace("img", "pic"): data for name, data in files.items()}
        | {"dataset.json": files["dataset.json"].replace(b"img", b"pic")},
    ]
    for number, other in enumerate(others):
        path = write_zip(tmp_path / f"{number}.zip", other)
        assert ImageArchive(path).digest() != digest


def dataset_json(content: object) -> dict[str, bytes]:
    return {"a.png": png(0), "b.png": png(1), "dataset.json": json.dumps(content).encode()}


BAD_ARCHIVES = {
    "no image": ({"a.txt": b""}, "holds no image"),
    "broken JSON": ({"a.png": png(0), "dataset.json": b"{"}, "not valid JSON"),
    "JSON of another kind": (dataset_json([1]), "must be an object"),
    "labels no list": (dataset_json({"labels": {"a.png": 1}}), "must be a list"),
    "label missing": (dataset_json({"labels": [["a.png", 0]]}), r"no label for 1 of 2.*b\.png"),
    "label twice": (dataset_json({"labels": [["a.png", 0], ["a.png", 1]]}), "twice"),
    "unknown file": (
        dataset_json({"labels": [["a.png", 0], ["b.png", 1], ["c.png", 0]]}),
        r"unknown file 'c\.png'",
    ),
    "negative": (labelled([0, -1]), r"img00000001\.png must be a class index.*found -1"),
    "float": (labelled([0, 1.5]), "found 1.5"),
    "boolean": (labelled([0, True]), "found True"),
    "text": (labelled([0, "cat"]), "found 'cat'"),
    "huge": (labelled([0, 10**30]), "must be a class index"),
    "beyond class_names": (labelled([0, 2], ["cat", "dog"]), "class 2, but there are 2"),
    "class_names twice": (labelled([0, 1], ["cat", "cat"]), "twice"),
    "class_names no names": (labelled([0, 1], [1, 2]), "list of names"),  # type: ignore[list-item]
    "vectors of two lengths": (labelled([[0, 1], [1]]), "list of 2 numbers"),
    "vectors and numbers": (labelled([[0, 1], 1]), "list of 2 numbers"),
    "numbers and vectors": (labelled([1, [0, 1]]), "must be a class index"),
    "vector not finite": (labelled([[0, 1], [1, float("nan")]]), "list of 2 numbers"),
    "image beside folders": (CLASS_FOLDERS | {"a.png": png(0)}, r"a\.png lies beside"),
    "splits": ({"train/cat/a.png": png(0), "test/cat/b.png": png(1)}, "splits test, train"),
    "two lists": (
        CLASS_FOLDERS | {"x.json": b'[["cat/a.png", 0]]', "y.json": b'[["cat/a.png", 0]]'},
        "several lists",
    ),
    "short list": (CLASS_FOLDERS | {"x.json": b'[["cat/a.png", 0]]'}, "no label for 2 of 3"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_bad_archives_are_refused(tmp_path: Path, write: Writer, case: str) -> None:
    files, message = BAD_ARCHIVES[case]
    with pytest.raises(UserError, match=message) as caught:
        ImageArchive(write(tmp_path / "data", files))
    assert str(tmp_path / "data") in str(caught.value)


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png", "C:/a.png", "x\\a.png"])
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="unsafe name"):
        ImageArchive(write_zip(tmp_path / "a.zip", {name: png(0)}))


def test_missing_and_broken_archives(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "a.zip", labelled([0, 1]))
    (tmp_path / "cut.zip").write_bytes(whole.read_bytes()[:-30])
    (tmp_path / "empty.zip").write_bytes(b"")
    for name, message in {
        "none": "no such file",
        "cut.zip": "whole zip",
        "empty.zip": "whole zip",
    }.items():
        with pytest.raises(UserError, match=message):
            ImageArchive(tmp_path / name)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_and_encrypted_entries(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.png", png(0))
        archive.writestr("a.png", png(1))
    with pytest.raises(UserError, match="twice"):
        ImageArchive(tmp_path / "twice.zip")
    data = bytearray(write_zip(tmp_path / "a.zip", {"a.png": png(0)}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UserError, match="encrypted"):
        ImageArchive(tmp_path / "a.zip")


def test_links_in_zips_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("a.png")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(UserError, match=r"a\.zip: a\.png is a link"):
        ImageArchive(tmp_path / "a.zip")


def test_oversized_files_are_refused(
    tmp_path: Path, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = ImageArchive(write(tmp_path / "data", {"a.png": png(0)}))
    monkeypatch.setattr("training.data.files.MAX_FILE_BYTES", 10)
    with pytest.raises(UserError, match=r"data.*a\.png.* is larger than 10 bytes; remove it"):
        archive.read(0)


def test_damaged_zip_content_is_named(tmp_path: Path) -> None:
    data = bytearray(write_zip(tmp_path / "a.zip", {"a.png": png(0), "b.png": png(1)}).read_bytes())
    data[data.index(png(1)) + 40] ^= 255
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"b\.png cannot be read"):
        ImageArchive(tmp_path / "a.zip").read(1)


@pytest.mark.parametrize("other", [(4, 5, 3), (4, 6, 1)])
def test_mixed_sizes_and_channels_name_the_file(
    tmp_path: Path, write: Writer, other: tuple[int, int, int]
) -> None:
    archive = ImageArchive(write(tmp_path / "data", {"a.png": png(0), "b.png": png(1, *other)}))
    with pytest.raises(UserError, match=r"b\.png is .*, but a\.png is 6x4 RGB"):
        archive.read(1)


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "real", {"a.png": png(0)})
    data = write_folder(tmp_path / "data", {"dog/b.png": png(1)})
    (data / "cat").symlink_to(tmp_path / "real")
    (data / "dog" / "loop").symlink_to(data)
    assert ImageArchive(data).names == ("cat/a.png", "dog/b.png")
