"""Checked downloads into the cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import urlparse

import requests

from dnnlib.errors import UserError
from dnnlib.files import atomic_path, cache_dir, sha256_file
from dnnlib.logs import Progress


def is_url(source: str) -> bool:
    """Whether `source` is meant as an http or https address."""
    return source.lower().startswith(("http://", "https://"))


def fetch(url: str, sha256: str | None = None) -> Path:
    """Path of `url`'s content in the cache, downloaded first where it is not there.

    With `sha256` (hexadecimal) the content must have that digest; where the cache holds another one
    it is downloaded anew. Raises `UserError` when the download fails or the digest differs; nothing
    partial stays behind.
    """
    key = hashlib.sha256(os.fsencode(url)).hexdigest()[:16]
    try:
        name = Path(urlparse(url).path).name
    except ValueError as error:
        raise UserError(f"{url}: is no address ({error}); check it") from None
    target = cache_dir() / "downloads" / f"{key}-{name[-100:] or 'file'}"
    if target.is_file() and (sha256 is None or sha256_file(target) == sha256):
        return target
    with atomic_path(target) as temporary:
        digest = _download(url, temporary, target.name)
        if sha256 is not None and digest != sha256:
            raise UserError(
                f"{url}: expected SHA-256 {sha256}, got {digest}; the file is not what it should "
                "be, fetch it by hand"
            )
    return target


def _download(url: str, path: Path, title: str) -> str:
    """Write `url`'s content to `path`; its SHA-256, hexadecimal."""
    digest = hashlib.sha256()
    try:
        with requests.get(url, stream=True, timeout=30) as reply:
            reply.raise_for_status()
            size = int(reply.headers.get("Content-Length", 0))
            with path.open("wb") as file, Progress(title, size or None, "B") as bar:
                for chunk in reply.iter_content(1 << 20):
                    file.write(chunk)
                    digest.update(chunk)
                    bar.update(len(chunk))
    except requests.RequestException as error:
        raise UserError(
            f"{url}: download failed ({type(error).__name__}); check the address and the network, "
            "or give a local file"
        ) from error
    return digest.hexdigest()
