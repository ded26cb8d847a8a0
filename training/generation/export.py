"""A generator as a file that runs without this project: ONNX, or a program of torch.export."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from dnnlib import Config, RunError, UserError
from dnnlib.files import write_bytes
from dnnlib.logs import logger
from training.generation.manifest import common_facts
from training.generation.synthesis import StyleConfig, class_center, latents
from training.networks.generator import Generator
from training.pictures import to_uint8
from training.snapshots import NetworkFile, load_network

ExportKind = Literal["onnx", "torch-export"]
PixelType = Literal["float32", "uint8"]
Inputs = tuple[Tensor, ...]  # z, and c with classes

SUFFIXES: dict[ExportKind, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
METADATA = "metadata.json"  # in a .pt2 file
OUTPUT = "images"
_CHECKED_BATCHES = (1, 3)
_MAX_ERROR = {"float32": 1e-3, "uint8": 1.0}


class ExportConfig(Config):
    """Which network becomes which file."""

    network: str
    out: Path
    kind: ExportKind | None = None  # None: what the suffix of `out` says
    batch: Annotated[int, Field(ge=1)] | None = None  # images at a time; None: any number
    pixels: PixelType = "float32"
    style: StyleConfig = StyleConfig()


class PlainGenerator(nn.Module):
    """Images of latents and conditions, as one function of tensors."""

    centers: Tensor | None

    def __init__(self, generator: Generator, style: StyleConfig, pixels: PixelType) -> None:
        super().__init__()
        self.generator, self.style, self.pixels = generator, style, pixels
        by_class = style.trunc_center == "class" and style.trunc != 1
        conditions = torch.eye(generator.c_dim)
        self.register_buffer("centers", class_center(generator, conditions) if by_class else None)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """`[N, z_dim]` and, with classes, `[N, c_dim]` → `[N, C, H, W]`.

        float32 about ±1, or uint8 in 0..255. Rows of `c` are one-hot or mix classes.
        """
        c = z.new_zeros(z.shape[0], 0) if c is None else c
        center = None if self.centers is None else (c / c.sum(dim=1, keepdim=True)) @ self.centers
        ws = self.generator.mapping(z, c, self.style.trunc, center=center)
        images: Tensor = self.generator.synthesis(ws, noise_mode=self.style.noise_mode)
        return to_uint8(images) if self.pixels == "uint8" else images


def export_network(config: ExportConfig) -> None:
    """Write a network's generator as a file that is checked to make the same images.

    Raises `UserError` for options that do not go together, a missing package, and a network or
    place that cannot be used; `RunError` where the file's images differ.
    """
    kind = _kind(config)
    _check(config)
    if kind == "onnx":
        _check_packages()
    network = load_network(config.network)
    if config.style.trunc_center == "class" and network.facts.num_classes == 0:
        raise UserError("--trunc-center class: the network was trained without classes")
    model = PlainGenerator(network.generator, config.style, config.pixels).eval()
    model.requires_grad_(False)
    with _quiet():
        program = trace(model, config.batch)
        write = _as_onnx if kind == "onnx" else _as_torch_export
        data, run = write(program, describe(config, network))
    error = _largest_error(model, run, config.batch)
    if not error <= _MAX_ERROR[config.pixels]:
        raise RunError(f"{config.out}: not written, its images would differ by {error:g}")
    write_bytes(config.out, data)
    logger.info(f"{len(data) / 2**20:.1f} MiB, images differ by {error:.1g} at most: {config.out}")


def trace(model: PlainGenerator, batch: int | None) -> ExportedProgram:
    """The computation of `model` for `batch` images at a time, or for any number."""
    inputs = example(model.generator, 2 if batch is None else batch)
    dynamic = [{0: Dim("batch", min=1)} if batch is None else None] * len(inputs)
    # Strict tracing keeps the batch open where Python compares shapes or asks for a tensor's len().
    return torch.export.export(model, inputs, dynamic_shapes=tuple(dynamic), strict=True)


def example(generator: Generator, count: int) -> Inputs:
    """`count` latents and, with classes, conditions of all classes in turn and a mixture."""
    z = latents(range(count), generator.z_dim)
    if generator.c_dim == 0:
        return (z,)
    c = torch.eye(generator.c_dim)[torch.arange(count) % generator.c_dim]
    c[-1] = 1 / generator.c_dim
    return z, c


def describe(config: ExportConfig, network: NetworkFile) -> dict[str, str]:
    """What is to be known of the file, as keywords and texts (JSON but for words)."""
    facts = network.facts
    told = {
        **common_facts(network, config.style, "fp32"),
        "class_names": facts.class_names,
        "width": facts.width,
        "height": facts.height,
        "num_channels": facts.num_channels,
        "z_dim": network.generator.z_dim,
        "range": "0..255" if config.pixels == "uint8" else "-1..1",
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in told.items()
    }


Written = tuple[bytes, Callable[[Inputs], Tensor]]  # a file's bytes, and what they compute


def _as_onnx(program: ExportedProgram, facts: dict[str, str]) -> Written:
    names = ["z", "c"][: len(program.graph_signature.user_inputs)]
    exported = torch.onnx.export(
        program, input_names=names, output_names=[OUTPUT], external_data=False, verbose=False
    )
    assert exported is not None
    shape = exported.model.graph.inputs[0].shape
    if shape is not None and not isinstance(shape[0], int):
        exported.rename_axes({shape[0]: "batch"})
    exported.model.metadata_props.update(facts)
    data: bytes = exported.model_proto.SerializeToString()
    session = import_module("onnxruntime").InferenceSession(
        data, providers=["CPUExecutionProvider"]
    )

    def run(inputs: Inputs) -> Tensor:
        arrays = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return data, run


def _as_torch_export(program: ExportedProgram, facts: dict[str, str]) -> Written:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(facts)})
    module = torch.export.load(io.BytesIO(buffer.getvalue())).module()

    def run(inputs: Inputs) -> Tensor:
        images: Tensor = module(*inputs)
        return images

    return buffer.getvalue(), run


@torch.no_grad()
def _largest_error(
    model: PlainGenerator, run: Callable[[Inputs], Tensor], batch: int | None
) -> float:
    """The most that any pixel differs, over batches of different sizes where that is possible."""
    errors = []
    for count in _CHECKED_BATCHES if batch is None else (batch,):
        inputs = example(model.generator, count)
        errors.append(float((run(inputs).float() - model(*inputs).float()).abs().max()))
    return max(errors)


def _kind(config: ExportConfig) -> ExportKind:
    if config.kind is not None:
        return config.kind
    for kind, suffix in SUFFIXES.items():
        if config.out.suffix.lower() == suffix:
            return kind
    raise UserError(
        f"--out {config.out}: must end in {' or '.join(SUFFIXES.values())}, or give --onnx or "
        "--torch-export"
    )


def _check(config: ExportConfig) -> None:
    if config.style.noise_mode == "random":
        raise UserError("--noise-mode random: an exported network draws no noise; const or none")
    if config.out.is_dir():
        raise UserError(f"--out {config.out}: is a folder; name a file")


def _check_packages() -> None:
    packages = ("onnx", "onnxscript", "onnxruntime")
    for package in packages:
        try:
            import_module(package)
        except ImportError:
            raise UserError(
                f"--onnx: needs the package {package}; install it: pip install {' '.join(packages)}"
            ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters say of other packages and of their own future."""
    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatter.setLevel(level)
