"""Compiled kernels on disk: one file a compilation, whole or absent, checked when read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dnnlib.errors import UserError
from dnnlib.files import cache_dir, write_bytes
from dnnlib.logs import logger
from torch_utils.ops.cuda.compiler import Compiled, Resources, compile_kernels, digest

_CHECKSUM_BYTES = hashlib.sha256().digest_size


def kernel_dir() -> Path:
    """The folder of compiled kernels, inside the user's cache folder."""
    return cache_dir() / "kernels"


def cached_kernels(source: str, names: Sequence[str], arch: str) -> Compiled:
    """`compile_kernels`, or what an earlier process left on disk from the same compilation.

    Processes that start at once may compile the same kernel; each puts a whole file in place. A
    damaged file is compiled again, and a cache that cannot be written only costs time.
    """
    path = kernel_dir() / f"{digest(source, names, arch)}.kernel"
    compiled = _read(path)
    if compiled is None:
        compiled = compile_kernels(source, names, arch)
        try:
            write_bytes(path, _pack(compiled))
        except UserError as error:
            logger.warning(f"compiled kernels are not kept: {error}")
    return compiled


def _pack(compiled: Compiled) -> bytes:
    """Checksum, a line of JSON, machine code."""
    header = {
        "symbols": compiled.symbols,
        "resources": {name: asdict(found) for name, found in compiled.resources.items()},
    }
    payload = json.dumps(header).encode() + b"\n" + compiled.cubin
    return hashlib.sha256(payload).digest() + payload


def _read(path: Path) -> Compiled | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    checksum, payload = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
    if hashlib.sha256(payload).digest() != checksum:
        return None
    line, cubin = payload.split(b"\n", 1)
    header = json.loads(line)
    resources = {name: Resources(**found) for name, found in header["resources"].items()}
    return Compiled(cubin, header["symbols"], resources)
