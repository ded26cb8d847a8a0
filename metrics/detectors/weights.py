"""Weights that the field passes around: where they come from, and what is in a file of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dnnlib.download import fetch
from dnnlib.errors import UserError
from dnnlib.files import cache_dir, sha256_file
from dnnlib.logs import logger
from metrics.detectors.torchscript import is_torchscript, read_torchscript
from torch_utils.checkpoint import load_tensors
from torch_utils.inert_pickle import RefusedError

_MAX_BYTES = 2**32
Shapes = Mapping[str, torch.Size]
"""Shape of each tensor of a public state dict by name, in the order of the layers."""


@dataclass(frozen=True)
class PublicFile:
    """A file of weights under its public name."""

    name: str
    sha256: str = ""
    """Hexadecimal; the first digits where its publishers tell no more (in its name), none where
    they tell nothing."""
    url: str | None = None


@dataclass(frozen=True)
class PublicWeights:
    """The files that hold a network's public weights, the one to be downloaded first."""

    title: str
    """Who needs them, for messages: '--detector inception'."""
    files: tuple[PublicFile, ...]
    instead: str
    """What else to do, and which metrics work without them."""

    def locate(self) -> Path:
        """A file in the cache, downloaded where there is none and DUDGAN_OFFLINE is not set.

        A download has the known SHA-256. Raises `UserError` where none can be had.
        """
        folder = cache_dir() / "detectors"
        for file in self.files:
            if (folder / file.name).is_file():
                return folder / file.name
        try:
            return self._download()
        except UserError as error:
            raise UserError(
                f"{self.title}: its weights cannot be had ({error}); put {self.files[0].name} "
                f"into {folder}, {self.instead}"
            ) from error

    def _download(self) -> Path:
        """The first file that can be had. Raises `UserError`, why not the first one."""
        if os.environ.get("DUDGAN_OFFLINE"):
            raise UserError("DUDGAN_OFFLINE is set")
        problems: list[UserError] = []
        for file in self.files:
            if file.url is not None:
                try:
                    return _fetch(file.url, file.sha256)
                except UserError as error:
                    problems.append(error)
        raise problems[0]

    def check(self, file: WeightsFile) -> None:
        """Warn where the SHA-256 is none of those that are known."""
        known = dict.fromkeys(public.sha256 for public in self.files if public.sha256)
        if not any(file.digest.startswith(digits) for digits in known):
            logger.warning(
                f"{file.path}: its SHA-256 starts with {file.digest[:8]}, which is none of the "
                f"known files ({', '.join(digits[:8] for digits in known)}); compare its scores "
                "only with scores of the same file"
            )


def _fetch(url: str, sha256: str) -> Path:
    path = fetch(url)
    digest = sha256_file(path)
    if not digest.startswith(sha256):
        path.unlink(missing_ok=True)
        raise UserError(
            f"{url}: expected SHA-256 {sha256}, got {digest}; it is not the public file"
        )
    return path


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds."""

    path: Path
    digest: str
    """Hexadecimal SHA-256."""
    tensors: dict[str, Tensor]
    """By name, on the CPU."""
    is_program: bool
    """Whether it is TorchScript, with names of its own."""

    def published(self, shapes: Shapes, advice: str) -> dict[str, Tensor]:
        """The tensors called as in `shapes`; others are left out.

        Raises `UserError`, which ends with `advice`, where one is missing, or of another shape or
        type.
        """
        tensors = self._renamed(shapes, advice) if self.is_program else self.tensors
        for name, shape in shapes.items():
            found = tensors.get(name)
            if not isinstance(found, Tensor):
                raise UserError(f"{self.path}: has no tensor {name}; {advice}")
            if found.shape != shape or not found.is_floating_point():
                kind = str(found.dtype).removeprefix("torch.")
                raise UserError(
                    f"{self.path}: {name} is {kind} {list(found.shape)} and not float "
                    f"{list(shape)}; {advice}"
                )
        return {name: tensors[name] for name in shapes}

    def _renamed(self, shapes: Shapes, advice: str) -> dict[str, Tensor]:
        """Public names for a program's tensors, layer by layer."""
        kinds = {shape for shape in shapes.values() if len(shape) > 1}
        theirs = _layers({k: t for k, t in self.tensors.items() if t.ndim < 2 or t.shape in kinds})
        ours = _layers({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
        if len(theirs) != len(ours):
            raise UserError(
                f"{self.path}: has {len(theirs)} layers of the shapes of this network and not "
                f"{len(ours)}; {advice}"
            )
        renamed: dict[str, Tensor] = {}
        for wanted, found in zip(ours, theirs, strict=True):
            for role, (name, _) in wanted.items():
                if role in found:
                    renamed[name] = found[role][1]
                elif role == "scale":  # of a batch norm; TensorFlow's has none where it is 1
                    renamed[name] = torch.ones(shapes[name])
        return renamed


_Layer = dict[str, tuple[str, Tensor]]
"""Name and tensor by role."""


def _layers(tensors: Mapping[str, Tensor]) -> list[_Layer]:
    """`tensors` by layer, in the order of their weights of two or more dimensions.

    A vector belongs to the weights of the same module, or else to those before it.
    """
    weights = {name: tensor for name, tensor in tensors.items() if tensor.ndim > 1}
    layers = {_module(name): {"weight": (name, tensor)} for name, tensor in weights.items()}
    last: _Layer = {}
    for name, tensor in tensors.items():
        last = layers.get(_module(name), last)
        if tensor.ndim == 1:
            last.setdefault(_role(name), (name, tensor))
    return list(layers.values())


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _role(name: str) -> str:
    """What a vector does in its layer, by what such vectors are called."""
    last = name.rpartition(".")[2].lower()
    words = {"mean": "mean", "var": "variance", "beta": "bias", "bias": "bias"}
    words |= {"gamma": "scale", "scale": "scale", "weight": "scale"}
    return next((role for word, role in words.items() if word in last), last)


def read_weights(path: Path, advice: str) -> WeightsFile:
    """The tensors of a state dict, or of a TorchScript program, in `path`. Nothing in it is run.

    Raises `UserError`, which ends with `advice`, where it is neither.
    """
    kind, is_program = "a state dict", False
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path}: is larger than {_MAX_BYTES} bytes; {advice}")
        digest = sha256_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {advice}") from error
    try:
        if is_program := is_torchscript(path):
            kind = "TorchScript"
            tensors = read_torchscript(path)
        elif path.suffix == ".safetensors":  # which not every torch reads
            tensors = load_tensors(path)[0]
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except UserError as error:
        raise UserError(f"{error}; {advice}") from error
    except RefusedError as error:
        raise UserError(f"{path}: refused, it {error}; {advice}") from error
    except Exception as error:  # foreign bytes make torch's reader raise almost anything
        raise UserError(
            f"{path}: is not {kind} of PyTorch ({type(error).__name__}); {advice}"
        ) from error
    if not isinstance(tensors, dict):
        raise UserError(f"{path}: holds no state dict but a {type(tensors).__name__}; {advice}")
    return WeightsFile(path, digest, tensors, is_program)
