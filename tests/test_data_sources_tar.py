"""Tars: webdataset shards, tars of class folders, and entries that are refused."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_helpers import converted, pixels, png
from data_layouts import samples, write_tar

from dnnlib import UserError
from training.data.sources import Source, SourceOptions, open_source


def classes_of(source: Source) -> list[str]:
    """Class name of each image."""
    assert source.labels is not None
    return [source.class_names[label] for label in source.labels]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
def test_one_shard(tmp_path: Path, name: str) -> None:
    path = write_tar(tmp_path / name, samples([2, 0, 1]))
    source = open_source(str(path))
    assert source.names == ("000000.png", "000001.png", "000002.png")
    assert classes_of(source) == ["2", "0", "1"] and source.fetch(1) == png(1)
    archive = converted(path, tmp_path / "dest.zip")
    assert np.array_equal(archive.read(2), pixels(2)) and archive.class_names == ("0", "1", "2")


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress])
def test_other_compressions(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    plain = write_tar(tmp_path / "a.tar", samples([0, 1])).read_bytes()
    (tmp_path / "a.tar.packed").write_bytes(compress(plain))
    assert open_source(str(tmp_path / "a.tar.packed")).fetch(1) == png(1)


@pytest.mark.parametrize("name", ["shard-{000..001}.tar", "shard-*.tar", ""])
def test_several_shards(tmp_path: Path, name: str) -> None:
    for number in range(2):
        write_tar(tmp_path / f"shard-00{number}.tar", samples([0, 1, 2], first=3 * number))
    source = open_source(str(tmp_path / name))
    assert len(source.names) == 6 and classes_of(source) == list("012012")
    assert source.fetch(4) == png(4)
    assert pickle.loads(pickle.dumps(source)).fetch(5) == png(5)


def test_shards_that_number_their_samples_alike(tmp_path: Path) -> None:
    for number, first in enumerate(["cat", "dog"]):
        files = samples([first, "cow"]) | {"000000.png": png(number)}
        write_tar(tmp_path / f"{number}.tar", files)
    source = open_source(str(tmp_path))
    assert source.names == ("0@000000.png", "0@000001.png", "1@000000.png", "1@000001.png")
    assert classes_of(source) == ["cat", "cow", "dog", "cow"]
    assert source.fetch(2) == png(1)


def test_missing_shards_are_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", samples([0]))
    with pytest.raises(UserError, match=r"/1\.tar: there is no such file"):
        open_source(str(tmp_path / "{0..1}.tar"))
    with pytest.raises(UserError, match=r"x\*\.tar: there is no such file"):
        open_source(str(tmp_path / "x*.tar"))


def test_labels_in_json_and_text(tmp_path: Path) -> None:
    said = [{"label": index, "kind": name} for index, name in [(1, "dog"), (0, "cat"), (1, "dog")]]
    path = str(write_tar(tmp_path / "a.tar", samples([json.dumps(x) for x in said], ".json")))
    assert classes_of(open_source(path)) == ["1", "0", "1"]
    assert classes_of(open_source(path, SourceOptions(label_column="kind"))) == [
        *("dog", "cat", "dog")
    ]
    with pytest.raises(UserError, match=r"--label-column breed: .* such a key"):
        open_source(path, SourceOptions(label_column="breed"))
    names = write_tar(tmp_path / "b.tar", samples(["dog\n", "cat", "dog", "cat"], ".txt"))
    assert classes_of(open_source(str(names))) == ["dog", "cat", "dog", "cat"]


def test_captions_and_other_json_are_no_labels(tmp_path: Path) -> None:
    captions = samples(["a dog on a sofa", "a cat", "two dogs"], ".txt")
    other = samples([json.dumps({"url": "x"})] * 3, ".json")
    source = open_source(str(write_tar(tmp_path / "a.tar", captions | other)))
    assert source.labels is None and len(source.names) == 3


def test_masks_belong_to_their_sample(tmp_path: Path) -> None:
    files = samples([0, 1]) | {"000000.mask.png": png(7), "000001.mask.png": png(8)}
    source = open_source(str(write_tar(tmp_path / "a.tar", files)))
    assert source.names == ("000000.png", "000001.png")
    with pytest.raises(UserError, match=r"000000\.jpg and 000000\.png are of one sample"):
        open_source(str(write_tar(tmp_path / "b.tar", samples([0]) | {"000000.jpg": png(1)})))


def test_images_that_are_left_out_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.sources.webdataset.logger.propagate", True)
    files = {"dog/1.png": png(0), "dog/1.5.png": png(1), "cat/1.jpg": png(2), "cat/1.png": png(3)}
    source = open_source(str(write_tar(tmp_path / "a.tar", files)))
    assert source.names == ("cat/1.jpg", "cat/1.png", "dog/1.png")
    assert "1 images are left out" in caplog.text and "dog/1.5.png" in caplog.text


def test_tar_of_class_folders(tmp_path: Path) -> None:
    files = {"./top/dog/1.5.png": png(0), "./top/cat/a b.png": png(1), "top/.x": b"", "._y": b""}
    path = str(write_tar(tmp_path / "pets.tar", files))
    source = open_source(path)
    assert source.names == ("top/cat/a b.png", "top/dog/1.5.png")
    assert classes_of(source) == ["cat", "dog"]
    assert open_source(path, SourceOptions(class_depth="0")).labels is None


def test_labels_that_are_missing_or_bad(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, bytes], str]] = [
        ({"000003.png": png(3)}, r"has no 000003\.cls"),
        (samples([-1], first=3), r"000003\.png must be a class index.*found -1"),
        (samples([1.5], first=3), "found 1.5"),
        (samples([" "], first=3), r"000003\.png is empty"),
    ]
    for number, (extra, message) in enumerate(cases):
        path = write_tar(tmp_path / f"{number}.tar", samples([0, 1, 2]) | extra)
        with pytest.raises(UserError, match=message) as caught:
            open_source(str(path))
        assert str(path) in str(caught.value)


def test_labels_of_no_image_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.sources.webdataset.logger.propagate", True)
    dotted = {"a.1.png": png(1), "a.1.cls": b"0", "a.2.png": png(2), "a.2.cls": b"1"}
    path = str(write_tar(tmp_path / "a.tar", dotted))
    with pytest.raises(UserError, match=r"2 of 2 \.cls .* like a\.1\.cls: .* its first dot"):
        open_source(path)
    assert open_source(path, SourceOptions(class_depth="0")).labels is None
    path = str(write_tar(tmp_path / "b.tar", samples([0, 1]) | {"000009.cls": b"1"}))
    assert classes_of(open_source(path)) == ["0", "1"]
    assert "1 of 3 .cls files belong to no image, like 000009.cls" in caplog.text


def special(kind: bytes, name: str = "000009.png") -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry, io.BytesIO())

    return add


BAD_ENTRIES = {
    "parent": (special(tarfile.REGTYPE, "../a.png"), r"unsafe name '\.\./a\.png'"),
    "parent inside": (special(tarfile.REGTYPE, "x/../../a.png"), "unsafe name"),
    "absolute": (special(tarfile.REGTYPE, "/etc/a.png"), r"unsafe name '/etc/a\.png'"),
    "symbolic link": (special(tarfile.SYMTYPE), r"000009\.png is a link"),
    "hard link": (special(tarfile.LNKTYPE), r"000009\.png is a link"),
    "device": (special(tarfile.CHRTYPE), r"000009\.png is a device"),
    "pipe": (special(tarfile.FIFOTYPE), r"000009\.png is a device"),
    "twice": (special(tarfile.REGTYPE, "000000.png"), r"holds 000000\.png twice"),
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_bad_entries_are_refused(tmp_path: Path, case: str, name: str) -> None:
    add, message = BAD_ENTRIES[case]
    path = tmp_path / name
    with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as tar:
        for file, data in samples([0, 1]).items():
            entry = tarfile.TarInfo(file)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        add(tar)
    with pytest.raises(UserError, match=message) as caught:
        open_source(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_truncated_tars(tmp_path: Path, name: str) -> None:
    noise = {f"{i}.png": png(i, 40, 40) for i in range(9)}
    path = write_tar(tmp_path / name, noise)
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.8):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UserError, match=r"a\.tar.*(truncated|damaged)"):
            open_source(str(path))
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.tar"):
        open_source(str(path))
