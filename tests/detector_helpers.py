"""Weights and pictures that tests of detectors share."""

from __future__ import annotations

import json
import logging
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import DATA
from PIL import Image
from torch import Tensor

from dnnlib.logs import logger

DIGITS = Path(__file__).parent.parent / "assets" / "mnist5k.zip"
# Output channels of VGG16's convolutions; M: the maximum over 2x2 pixels.
VGG16_LAYOUT = (64, 64, "M", 128, 128, "M", *(256,) * 3, "M", *(512,) * 3, "M", *(512,) * 3, "M")


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Random uint8 pictures."""
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8))


def digits(count: int) -> Tensor:
    """Real pictures, uint8 `[count, 1, 28, 28]`, of all classes in turn."""
    with zipfile.ZipFile(DIGITS) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        labels = dict(json.loads(archive.read("dataset.json"))["labels"])
        order = sorted(range(len(names)), key=lambda i: (i % 500, labels[names[i]]))
        chosen = [names[index] for index in order[:count]]
        pictures = [np.array(Image.open(BytesIO(archive.read(name)))) for name in chosen]
    return torch.from_numpy(np.stack(pictures))[:, None]


def inception_state() -> dict[str, Tensor]:
    """The tensors that `inception.npz` was made with, by their public names."""
    with np.load(DATA / "inception.npz") as file:
        shapes = json.loads(str(file["meta"]))["shapes"]
    return {name: _inception_tensor(name, shape) for name, shape in shapes.items()}


def _inception_tensor(name: str, shape: list[int]) -> Tensor:
    """By the recipe of the vectors' README."""
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    if name.endswith(("running_var", "bn.weight")):
        values = random.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "bias")):
        values = 0.1 * random.randn(*shape)
    else:
        values = random.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def vgg16_state() -> dict[str, Tensor]:
    """Random weights by their public names. Rows share memory, so that a file of them is small."""
    state: dict[str, Tensor] = {}
    channels, number = 3, 0
    for entry in VGG16_LAYOUT:
        if isinstance(entry, int):
            state |= _layer(f"features.{number}", (entry, channels, 3, 3))
            channels, number = entry, number + 1
        number += 1
    state |= _layer("classifier.0", (4096, 25088))
    state |= _layer("classifier.3", (4096, 4096))
    return state | _layer("classifier.6", (1000, 4096))


def _layer(name: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    fan_in = int(np.prod(shape[1:]))
    numbers = torch.randn(fan_in + 7 * shape[0], generator=generator) * (2 / fan_in) ** 0.5
    strides = [7, *(int(np.prod(shape[i + 1 :])) for i in range(1, len(shape)))]
    bias = torch.randn(shape[0], generator=generator) / 10
    return {f"{name}.weight": numbers.as_strided(shape, strides), f"{name}.bias": bias}


@contextmanager
def logged_warnings() -> Iterator[list[str]]:
    """Messages of our logger's warnings, whoever has set logging up before."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


@contextmanager
def web_server(pages: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Address of a web server on this machine, and the paths it was asked for.

    Whatever is below /cut/ ends before the length that was promised.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = pages.get(self.path.removeprefix("/cut"))
            self.send_response(404 if content is None else 200)
            extra = 1 if self.path.startswith("/cut/") else 0
            self.send_header("Content-Length", str(len(content or b"") + extra))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
