"""Data sets with something wrong in them."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path

from data_helpers import png, write_folder, write_zip

_NAMES = [f"00000/img{index:08d}.png" for index in range(4)]
_GOOD = {name: png(index, 16, 16, 1) for index, name in enumerate(_NAMES)}


def write_archives(folder: Path) -> None:
    """Zips and folders of images, by what is wrong with them."""
    for name, content in _bad_labels().items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        write_zip(folder / f"label-{name}.zip", _GOOD | {"dataset.json": data})
    _write_bad_images(folder)
    _write_bad_zips(folder)
    # As archives from Windows unpack: a name that is not UTF-8.
    write_folder(folder / "latin", {"caf\udce9/a.png": _GOOD[_NAMES[0]], "dog/b.png": png(1)})


def _bad_labels() -> dict[str, object]:
    def pairs(*labels: object) -> list[list[object]]:
        return [[name, label] for name, label in zip(_NAMES, labels, strict=True)]

    return {
        "beyond-names": {"labels": pairs(0, 1, 2, 9), "class_names": ["a", "b", "c"]},
        "negative": {"labels": pairs(0, 1, 2, -1)},
        "fraction": {"labels": pairs(0, 1, 2, 0.5)},
        "true": {"labels": pairs(0, 1, 2, True)},
        "text": {"labels": pairs(0, 1, 2, "dog")},
        "null": {"labels": pairs(0, 1, 2, None)},
        "huge": {"labels": pairs(0, 1, 2, 10**30)},
        "million": {"labels": pairs(0, 1, 2, 2**20)},
        "nan": b'{"labels": [["00000/img00000000.png", NaN], ["00000/img00000001.png", 0], '
        b'["00000/img00000002.png", 0], ["00000/img00000003.png", 1]]}',
        "nan-vector": {"labels": pairs([0, 1], [0, 1], [0, 1], [0, float("nan")])},
        "uneven-vectors": {"labels": pairs([0, 1], [0, 1], [0, 1], [0])},
        "mixed-kinds": {"labels": pairs([0, 1], 1, 2, 3)},
        "vectors": {"labels": pairs([0, 1], [0, 1], [1, 0], [1, 0])},
        "missing": {"labels": pairs(0, 1, 0, 1)[:3]},
        "unknown-file": {"labels": [*pairs(0, 1, 0, 1), ["no.png", 1]]},
        "twice": {"labels": [*pairs(0, 1, 0, 1), [_NAMES[0], 1]]},
        "gap": {"labels": pairs(0, 0, 2, 2)},
        "same-names": {"labels": pairs(0, 1, 0, 1), "class_names": ["cat", "cat"]},
        "surrogate": {"labels": pairs(0, 1, 0, 1), "class_names": ["a\ud800", "b"]},
        "empty-name": {"labels": pairs(0, 1, 0, 1), "class_names": ["cat", ""]},
        "names-no-list": {"labels": pairs(0, 1, 0, 1), "class_names": {"cat": 0}},
        "unused-name": {"labels": pairs(0, 1, 0, 1), "class_names": ["a", "b", "c"]},
        "no-list": {"labels": 7},
        "no-pairs": {"labels": [1, 2, 3]},
        "object": {"labels": {_NAMES[0]: 1}},
        "no-object": [1, 2, 3],
        "no-json": b"labels: none",
        "cut": b'{"labels": [["00000/img0',
        "not-utf8": b'{"labels": [["\xff\xfe", 1]]}',
        "nested": b"[" * 200_000,
        "empty-file": b"",
    }


def _write_bad_images(folder: Path) -> None:
    whole = _GOOD[_NAMES[0]]
    for name, files in {
        "cut-png": _GOOD | {_NAMES[1]: whole[:60]},
        "text-png": _GOOD | {_NAMES[1]: b"Dear diary"},
        "empty-png": _GOOD | {_NAMES[1]: b""},
        "bad-crc-png": _GOOD | {_NAMES[1]: whole[:40] + b"\0\0\0\0" + whole[44:]},
        "bomb-png": {"a.png": _png_header(50_000, 50_000)},
        "bomb-tiff": {"a.tif": _tiff_header(60_000, 60_000)},
        "flat-png": {"a.png": _png_header(0, 5)},
        "mixed-sizes": _GOOD | {_NAMES[3]: png(3, 8, 8, 1)},
        "mixed-channels": _GOOD | {_NAMES[3]: png(3, 16, 16, 3)},
        "odd-size": {f"{index}.png": png(index, 17, 17, 1) for index in range(4)},
        "long": {f"{index}.png": png(index, 128, 4, 1) for index in range(4)},
        "tiny-size": {f"{index}.png": png(index, 2, 2, 1) for index in range(4)},
        "no-image": {"readme.txt": b"none"},
        "beside": _GOOD | {"top.png": whole, "dog/a.png": whole},
        "splits": {"train/a.png": whole, "test/b.png": whole},
        "two-lists": {
            "a/1.png": whole,
            "x.json": b'[["a/1.png", 0]]',
            "y.json": b'[["a/1.png", 0]]',
        },
    }.items():
        write_zip(folder / f"{name}.zip", files)


def _write_bad_zips(folder: Path) -> None:
    whole = (folder / "good.zip").read_bytes()
    (folder / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (folder / "text.zip").write_text("Dear diary\n")
    (folder / "empty.zip").write_bytes(b"")
    write_zip(folder / "hollow.zip", {})
    (folder / "scrambled.zip").write_bytes(bytes(255 - byte for byte in whole[:200]) + whole[200:])
    image = _GOOD[_NAMES[0]]
    for name, entry in {
        "slip": "../../escaped.png",
        "root": "/tmp/escaped.png",
        "backslash": "..\\escaped.png",
        "drive": "C:/escaped.png",
    }.items():
        write_zip(folder / f"{name}.zip", {entry: image})
    link = zipfile.ZipInfo("a.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(folder / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with zipfile.ZipFile(folder / "doubled.zip", "w") as archive:
        archive.writestr("a/1.png", image)
        archive.filelist.append(archive.filelist[0])
    plain = bytearray(write_zip(folder / "locked.zip", {"a/1.png": image}).read_bytes())
    directory = plain.rindex(b"PK\x01\x02")
    plain[6] |= 1
    plain[directory + 8] |= 1
    (folder / "locked.zip").write_bytes(plain)
    large = bytearray(write_zip(folder / "large.zip", {"a/1.png": image}).read_bytes())
    large[directory + 24 : directory + 28] = struct.pack("<I", 2**31)
    (folder / "large.zip").write_bytes(large)
    odd = bytearray(write_zip(folder / "odd-packing.zip", {"a/1.png": image}).read_bytes())
    odd[8:10] = odd[directory + 10 : directory + 12] = struct.pack("<H", 99)
    (folder / "odd-packing.zip").write_bytes(odd)


def _png_header(width: int, height: int) -> bytes:
    """A PNG that says it is large, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _tiff_header(width: int, height: int) -> bytes:
    tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 10),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0"
