"""Features of pictures, and where those of real ones are kept on disk."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from dnnlib.errors import UserError
from dnnlib.files import atomic_path, cache_dir
from dnnlib.logs import Progress, logger
from metrics.detectors import Detector
from metrics.images import RealImages
from torch_utils.tensor_cores import full_float32

_MAX_HEADER = 2**16  # bytes; ours have less than a thousand


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
            with full_float32():  # the cache and the record call it fp32; making images may not be
                features[done : done + count] = detector(batch[:count]).cpu()
            done += count
            bar.update(count)
            if done == total:
                break
    return features[:done]


@dataclass(frozen=True)
class CacheEntry:
    """A place on disk for the features of certain pictures, float32 `[N, F]`.

    Any number of processes may read and write it at once: files are whole or absent.
    """

    path: Path
    provenance: Mapping[str, str]
    """All that the features depend on."""
    shape: tuple[int, int]

    def load(self) -> torch.Tensor | None:
        """The features, float32 of `shape` on the CPU; None where there are none.

        With a warning None too where the file is damaged.
        """
        features = torch.empty(self.shape)
        try:
            # Not `safe_open`: it opens a file twice, and another process may replace it between.
            with self.path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, _MAX_HEADER)))
                found = file.readinto(features.numpy().data.cast("B"))
                whole = found == features.nbytes and not file.read(1)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            logger.warning(f"{self.path}: cached features cannot be read ({error}); made anew")
            return None
        facts = header.get("__metadata__") if isinstance(header, dict) else None
        if not whole or facts != self._metadata(features):
            logger.warning(f"{self.path}: cached features are damaged; made anew")
            return None
        return features

    def save(self, features: torch.Tensor) -> None:
        """Keep `features`, float32 of `shape`; a warning where they cannot be written."""
        try:
            with atomic_path(self.path) as temporary:
                save_file({"features": features}, temporary, self._metadata(features))
        except (UserError, SafetensorError) as error:
            logger.warning(f"features are not kept for the next time: {error}")

    def _metadata(self, features: torch.Tensor) -> dict[str, str]:
        content = hashlib.sha256(features.contiguous().numpy().data).hexdigest()
        return {**self.provenance, "content": content}


def cache_entry(detector: Detector, reals: RealImages, count: int) -> CacheEntry:
    """Where the features of `fair_sample(reals.num_images, count)` of `reals` are kept."""
    provenance = {
        "dataset_digest": reals.digest,
        "mirror": str(reals.mirror),
        "num_images": str(reals.num_images),
        "count": str(count),
        "detector": detector.name,
        "detector_digest": detector.digest,
        "resize": detector.resize,
        "precision": detector.precision,
    }
    key = hashlib.sha256(json.dumps(provenance, sort_keys=True).encode()).hexdigest()
    name = re.sub(r"[^\w.-]", "_", detector.name)
    path = cache_dir() / "features" / f"{name}-{key[:32]}.safetensors"
    return CacheEntry(path, provenance, (count, detector.num_features))
