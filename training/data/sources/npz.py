"""NumPy's `.npz`: `x` uint8 `[N, H, W]` or `[N, H, W, C]`, and class indices `y` `[N]` if any."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np

from dnnlib import UserError
from training.data.labels import Labels, make_labels
from training.data.sources.pixels import PixelSource, map_pixels, numbers
from training.data.sources.unpack import Spool, copy

_LOCAL_HEADER = struct.Struct("<26xHH")  # lengths of the name and of the extra field


def open_npz(path: Path) -> PixelSource:
    """The images of an `.npz`. Raises `UserError` where it is not whole or holds something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [name.removesuffix(".npy") for name in archive.namelist()]
            if "x" not in found:
                raise UserError(
                    f"{path}: must hold the images as array 'x', found "
                    f"{', '.join(found) or 'nothing'}"
                )
            spool, plain, start = _lay_bare(archive, path)
            shape, fortran_order, offset = _read_header(plain, start, path)
            names = numbers(shape[0])
            labels = _read_labels(archive, path, names) if "y" in found else None
            _check_size(plain, offset, shape, archive.getinfo("x.npy").file_size, path)
    except UserError:
        raise
    # The readers of zips and of NumPy's headers raise whatever they stumble over.
    except Exception as error:
        raise UserError(f"{path}: is not a whole .npz file ({error}); check it") from error
    pixels = map_pixels(plain, offset, (*shape, 1)[:4], fortran_order)
    return PixelSource(path, names, labels, pixels, (0, 1, 2), spool)


def _lay_bare(archive: zipfile.ZipFile, path: Path) -> tuple[Spool | None, Path, int]:
    """Where the bytes of `x.npy` lie bare, in `path` itself or unpacked: file and offset."""
    entry = archive.getinfo("x.npy")
    with archive.open(entry) as stream:  # which checks the name and the way of packing
        if entry.compress_type != zipfile.ZIP_STORED:
            spool = Spool()
            copy(stream, spool, path, entry.compress_size)
            return spool, spool.path, 0
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    return None, path, entry.header_offset + _LOCAL_HEADER.size + sum(lengths)


def _read_header(plain: Path, start: int, path: Path) -> tuple[tuple[int, ...], bool, int]:
    """Shape of `x`, whether its first axis is the fastest, and where its pixels begin."""
    with plain.open("rb") as file:
        file.seek(start)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(file)
        offset = file.tell()
    if dtype != np.uint8 or len(shape) not in {3, 4} or 0 in shape:
        raise UserError(
            f"{path}: x must be uint8 [N, H, W] or [N, H, W, C], found {dtype} {list(shape)}"
        )
    if len(shape) == 4 and shape[3] not in {1, 3, 4}:
        raise UserError(f"{path}: x must have 1, 3 or 4 channels, found {shape[3]}")
    return shape, fortran_order, offset


def _check_size(
    plain: Path, offset: int, shape: tuple[int, ...], entry_bytes: int, path: Path
) -> None:
    wanted = int(np.prod(shape, dtype=object))
    if plain.stat().st_size < offset + wanted or entry_bytes < wanted:
        raise UserError(f"{path}: x must have {wanted} bytes of pixels, the file ends before that")


def _read_labels(archive: zipfile.ZipFile, path: Path, names: list[str]) -> Labels:
    y = np.zeros(0)
    if archive.getinfo("y.npy").file_size <= 8 * len(names) + 2**16:  # else it is something huge
        with archive.open("y.npy") as stream:
            y = np.lib.format.read_array(stream, allow_pickle=False)
    if y.shape != (len(names),) or not np.issubdtype(y.dtype, np.integer):
        raise UserError(
            f"{path}: y must hold one class index for each of the {len(names)} images, found "
            f"{y.dtype} {list(y.shape)}"
        )
    return make_labels(y.tolist(), [f"x[{name}]" for name in names], f"{path}: y")
