"""Metrics by their published names, for any number of images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dnnlib.errors import UserError
from metrics import families
from metrics.families import Family
from metrics.path_length import PathConfig

_PUBLISHED_COUNT = 50_000
_MAX_IMAGES = 10**7
_COUNT = r"([1-9][0-9]{0,7})(k?)"
_PATH_NAME = re.compile(rf"ppl(2?)_([zw])(full|end)(?:_{_COUNT})?")
_MEAN_OVER_CLASSES = "intra_"


@dataclass(frozen=True)
class Metric:
    """A metric as asked for: `fid50k_full` is FID of 50,000 generated and all real images."""

    name: str
    """As the user spelled it: `fid1k` and `fid1000` are the same."""
    family: Family
    count: int
    """Generated images, and without `full` also the most real ones."""
    full: bool = False
    """Against all real images."""
    mean_over_classes: bool = False
    """Rather than of all images together."""
    path: PathConfig | None = None
    """Of perceptual path length, whose images come in pairs."""

    def num_real(self, available: int) -> int:
        """Real images taken of `available`."""
        if not self.family.uses_reals:
            return 0
        return available if self.full else min(self.count, available)

    def scores(self, results: Mapping[str, float]) -> dict[str, float]:
        """Those of a record's results that say how good a generator is."""
        names = [self.name + part for part in self.family.parts]
        return {name: results[name] for name in names}


def parse_metrics(names: Sequence[str]) -> list[Metric]:
    """`parse_metric` of each name, repeated names once. Raises `UserError` as it does."""
    return [parse_metric(name) for name in dict.fromkeys(names)]


def parse_metric(name: str) -> Metric:
    """The metric called `name`: FAMILY, COUNT (`50k` or `500`), then `_full` for all real images.

    In `pr50k3` and `pr5003` the last digit is the neighbourhood, always 3, and COUNT what is before
    it: 50,000 and 500; so is the 5 of `dc50k5`. `intra_fid50k` and `intra_kid50k` are means over
    classes. Path lengths end with their COUNT, as `ppl2_wend_5k`; 50,000 without. Raises
    `UserError` for an unknown name or an impossible count.
    """
    metric = _parse_path_length(name) or _parse_counted(name)
    if metric is None:
        raise UserError(f"--metrics: there is no {name!r}; choose from {', '.join(_examples())}")
    if not metric.family.min_images <= metric.count <= _MAX_IMAGES:
        raise UserError(
            f"--metrics: {name} takes {metric.family.min_images} to {_MAX_IMAGES} images"
        )
    return metric


def _parse_counted(name: str) -> Metric | None:
    plain = name.removeprefix(_MEAN_OVER_CLASSES)
    mean = plain != name
    for family in families.COUNTED:
        full = "(_full)?" if family.has_full else "()"
        match = re.fullmatch(rf"{family.prefix}{_COUNT}{family.suffix}{full}", plain)
        if match is not None and (family.has_mean or not mean):
            return Metric(name, family, _count(match[1], match[2]), bool(match[3]), mean)
    return None


def _parse_path_length(name: str) -> Metric | None:
    """`ppl2_wend`, or with a face crop `ppl_wend`; z or w, full or end."""
    match = _PATH_NAME.fullmatch(name)
    if match is None or (match[1] and (match[2], match[3]) != ("w", "end")):
        return None
    space: Literal["z", "w"] = "z" if match[2] == "z" else "w"
    sampling: Literal["full", "end"] = "full" if match[3] == "full" else "end"
    count = _count(match[4], match[5]) if match[4] else _PUBLISHED_COUNT
    path = PathConfig(space, sampling, crop=not match[1])
    return Metric(name, families.PATH_LENGTH, count, path=path)


def _count(digits: str, thousands: str) -> int:
    return int(digits) * (1000 if thousands else 1)


def _examples() -> list[str]:
    counted = [
        f"{family.prefix}50k{family.suffix}{'_full' * family.has_full}"
        for family in families.COUNTED
    ]
    return [
        *counted,
        "intra_fid50k_full, intra_kid50k_full, each also with another number for 50k (pr5003_full: "
        "500 images) and where it has _full without it, ppl2_wend, ppl_wend, ppl_wfull, ppl_zend",
        "ppl_zfull",
    ]
