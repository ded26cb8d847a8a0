"""Features of pictures, those of real ones kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dnnlib.errors import UserError
from dnnlib.files import atomic_path, cache_dir
from dnnlib.logs import Progress, logger
from metrics.detectors import Detector
from metrics.images import RealImages, fair_sample


def compute_features(
    detector: Detector, images: Iterable[torch.Tensor], total: int, title: str
) -> torch.Tensor:
    """Features of the first `total` pictures of `images`, float32 `[N, F]` on the CPU.

    `images` are batches, uint8 `[n, C, H, W]`; N is below `total` where they run out. `title` names
    the progress bar.
    """
    features = torch.empty(total, detector.num_features)
    done = 0
    with Progress(title, total, "img") as bar:
        for batch in images:
            count = min(len(batch), total - done)
            features[done : done + count] = detector(batch[:count]).cpu()
            done += count
            bar.update(count)
            if done == total:
                break
    return features[:done]


def real_features(
    detector: Detector, reals: RealImages, count: int, batch_size: int
) -> torch.Tensor:
    """Features of a fair sample of `count` pictures of `reals`, float32 `[count, F]` on the CPU.

    Read from the cache where they are there; a damaged file is computed anew with a warning, and
    so are features that cannot be written.
    """
    provenance = {
        "dataset_digest": reals.digest,
        "mirror": str(reals.mirror),
        "num_images": str(reals.num_images),
        "count": str(count),
        "detector": detector.name,
        "detector_digest": detector.digest,
        "resize": detector.resize,
    }
    path = _cache_path(provenance)
    features = _load(path, provenance, (count, detector.num_features))
    if features is None:
        batches = reals.batches(fair_sample(reals.num_images, count), batch_size)
        features = compute_features(detector, batches, count, "features of real images")
        assert len(features) == count
        _save(path, provenance, features)
    return features


def _cache_path(provenance: dict[str, str]) -> Path:
    key = hashlib.sha256(json.dumps(provenance, sort_keys=True).encode()).hexdigest()
    return cache_dir() / "features" / f"{provenance['detector']}-{key[:32]}.safetensors"


def _load(path: Path, provenance: dict[str, str], shape: tuple[int, int]) -> torch.Tensor | None:
    """The features in `path`; None where there are none, or (with a warning) none to be trusted."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            features: torch.Tensor = file.get_tensor("features")
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        logger.warning(f"{path}: cached features cannot be read ({error}); computing them anew")
        return None
    expected = {**provenance, "content": _content_digest(features)}
    if metadata != expected or features.shape != shape or features.dtype != torch.float32:
        logger.warning(f"{path}: cached features are damaged; computing them anew")
        return None
    return features


def _save(path: Path, provenance: dict[str, str], features: torch.Tensor) -> None:
    metadata = {**provenance, "content": _content_digest(features)}
    try:
        with atomic_path(path) as temporary:
            save_file({"features": features}, temporary, metadata)
    except (UserError, SafetensorError) as error:
        logger.warning(f"features are not kept for the next time: {error}")


def _content_digest(features: torch.Tensor) -> str:
    return hashlib.sha256(features.contiguous().numpy().data).hexdigest()
