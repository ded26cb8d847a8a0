"""The Inception of published FIDs, with weights that users bring along."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch.nn import functional as F

from dnnlib.errors import UserError
from dnnlib.files import cache_dir, sha256_file
from dnnlib.logs import logger
from metrics.detectors.base import as_rgb, in_batches
from metrics.detectors.inception_network import (
    NUM_FEATURES,
    Inception,
    fold_batch_norm,
    published_shapes,
)

# One file under its two public names, those of pytorch-fid and torch-fidelity, which carry the
# first digits of its SHA-256.
WEIGHT_FILES = (
    "pt_inception-2015-12-05-6726825d.pth",
    "weights-inception-2015-12-05-6726825d.pth",
)
_SHA256_START = "6726825d"


def resize_tf_bilinear(images: torch.Tensor, size: int) -> torch.Tensor:
    """Float `images` `[N, C, H, W]` as `[N, C, size, size]`, as TensorFlow 1 resized them.

    Output row i lies at the input's row i * H / size (no half-pixel centres, no antialiasing); what
    lies beyond the last row is that row. Columns alike.
    """
    for dim in (2, 3):
        length = images.shape[dim]
        if length == size:
            continue
        position = torch.arange(size, dtype=images.dtype, device=images.device) * (length / size)
        first = position.floor().long().clamp(max=length - 1)
        second = (first + 1).clamp(max=length - 1)
        share = (position - first).unsqueeze(-1) if dim == 2 else position - first
        images = torch.lerp(
            images.index_select(dim, first), images.index_select(dim, second), share
        )
    return images


def find_weights() -> Path:
    """The weights file in the cache. Raises `UserError` where there is none."""
    folder = cache_dir() / "detectors"
    for name in WEIGHT_FILES:
        if (path := folder / name).is_file():
            return path
    raise UserError(
        f"--detector inception: its weights are not there; put {WEIGHT_FILES[0]} (of pytorch-fid) "
        f"into {folder} or name the file as --detector FILE, or use --detector efficientnet-lite0, "
        "which needs no file"
    )


def load_weights(path: Path, shapes: dict[str, torch.Size]) -> dict[str, torch.Tensor]:
    """The tensors named in `shapes` of the state dict in `path`, on the CPU; others are left out.

    Nothing in the file is run. Raises `UserError` where it is no state dict, or a tensor is
    missing or of another shape or type.
    """
    advice = f"use {WEIGHT_FILES[0]} of pytorch-fid"
    try:
        if _is_torchscript(path):
            raise UserError(f"{path}: is a TorchScript program, which is not run; {advice}")
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {advice}") from error
    except Exception as error:  # foreign bytes make torch's reader raise almost anything
        raise UserError(
            f"{path}: is not a state dict of PyTorch ({type(error).__name__}); {advice}"
        ) from error
    if not isinstance(tensors, dict):
        raise UserError(f"{path}: holds no state dict but a {type(tensors).__name__}; {advice}")
    for name, shape in shapes.items():
        found = tensors.get(name)
        if not isinstance(found, torch.Tensor):
            raise UserError(f"{path}: has no tensor {name}; {advice}")
        if found.shape != shape or not found.is_floating_point():
            kind = str(found.dtype).removeprefix("torch.")
            raise UserError(
                f"{path}: {name} is {kind} {list(found.shape)} and not float {list(shape)}; "
                f"{advice}"
            )
    return {name: tensors[name] for name in shapes}


def _is_torchscript(path: Path) -> bool:
    """Whether `path` is a zip with the program that `torch.jit.save` adds to tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2] == "constants.pkl" for name in archive.namelist())


class InceptionDetector:
    """`Detector` with the 2048 pooled features of FID-Inception (Heusel et al., arXiv 1706.08500).

    Beyond `Detector`, it knows the class probabilities that belong to features.
    """

    name = "inception"
    num_features = NUM_FEATURES
    input_size = 299
    resize = f"tf-bilinear-{input_size}"

    def __init__(self, device: torch.device, weights: Path | None = None) -> None:
        """Load `weights`, a public state dict, or else the file in the cache (`find_weights`).

        Raises `UserError` where there is none, or it is of another network.
        """
        path = find_weights() if weights is None else weights
        self._device = device
        with torch.device("meta"):  # no initial weights: no draws from a run's random generator
            self._network = Inception().eval().requires_grad_(False)
        published = load_weights(path, published_shapes(self._network))
        self._network.load_state_dict(fold_batch_norm(published), assign=True)
        self._network.to(device)
        self.digest = sha256_file(path)
        """Hexadecimal SHA-256 of the weights file."""
        if not self.digest.startswith(_SHA256_START):
            logger.warning(
                f"{path}: is not the public file (its SHA-256 starts with {self.digest[:8]}, not "
                f"{_SHA256_START}); do not compare scores with published ones"
            )

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """See `Detector`. The features are 0 or more."""
        return in_batches(self._extract, images, self._device)

    def _extract(self, images: torch.Tensor) -> torch.Tensor:
        pixels = as_rgb(images.to(self._device)).float()
        x = (resize_tf_bilinear(pixels, self.input_size) - 128) / 128
        features: torch.Tensor = self._network(x.contiguous(memory_format=torch.channels_last))
        return features

    @torch.inference_mode()
    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities, float32 `[N, 1008]` on the CPU, of features `[N, 2048]`.

        Of the logits without their bias, as the Inception Score has been taken since its first
        implementation (Salimans et al., arXiv 1606.03498).
        """
        weight = self._network.fc.weight
        return F.linear(features.to(weight.device), weight).softmax(dim=1).cpu()
