"""Perceptual path length of generators whose paths one can measure by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_helpers import ALONE, Fakes, Reals, normal, pictures
from torch import Tensor

from metrics import path_length
from metrics.instruments import Instruments
from metrics.names import parse_metrics
from metrics.path_length import (
    PathConfig,
    compared_size,
    mean_without_outliers,
    path_lengths,
    slerp,
)
from metrics.sources import Subject
from metrics.suite import measure
from torch_utils.tensor_cores import allow_tf32

Z_DIM = 6


@dataclass
class Linear:
    """z → w = z (1 + label) → an image whose pixels are `matrix` w, with noise by index."""

    matrix: Tensor = field(default_factory=lambda: normal(2 * 16 * 16, Z_DIM, seed=3))
    seed: int = 0
    noise: float = 0.0
    z_dim: int = Z_DIM

    @property
    def settings(self) -> dict[str, Any]:
        """Other than the images'."""
        return {"trunc": 0.25}

    def labels(self, indices: Sequence[int]) -> Tensor:
        """Two classes in turn."""
        return torch.tensor([index % 2 for index in indices])

    def mapping(self, z: Tensor, labels: Tensor) -> Tensor:
        """`[N, 2, z_dim]`: two layers."""
        return (z * (1 + labels[:, None]))[:, None].repeat(1, 2, 1)

    def synthesis(self, ws: Tensor, indices: Sequence[int]) -> Tensor:
        """`[N, 2, 16, 16]`."""
        images = (ws.mean(dim=1).double() @ self.matrix.double().T).reshape(-1, 2, 16, 16)
        return images + self.noise * torch.tensor(indices).reshape(-1, 1, 1, 1)


@dataclass
class SquaredError:
    """Squared distance of pixels in -1 to 1."""

    name: str = "squared"
    digest: str = "ab" * 32
    resize: str = "none"
    precision: str = "fp32"
    sizes: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """`[N]` of images in 0..255."""
        self.sizes.append(tuple(a.shape[1:]))
        return ((a - b) / 127.5).square().sum(dim=(1, 2, 3))


def lengths(config: PathConfig, count: int, generator: Linear | None = None) -> Tensor:
    """Of the first `count` paths."""
    return path_lengths(generator or Linear(), SquaredError(), config, range(count))


def test_w_of_a_linear_generator() -> None:
    """‖M (w₁ − w₀)‖² wherever on the path; its mean is 2 Tr MᵀM (1 + label)² over z."""
    generator = Linear()
    ends = lengths(PathConfig("w", "end", crop=False), 2000)
    anywhere = lengths(PathConfig("w", "full", crop=False), 2000)
    torch.testing.assert_close(ends, anywhere, rtol=1e-2, atol=0)  # of float32 steps of 1e-4
    expected = 2 * generator.matrix.square().sum().item()
    assert ends[0::2].mean().item() == pytest.approx(expected, rel=0.05)
    assert ends[1::2].mean().item() == pytest.approx(4 * expected, rel=0.05)


def test_z_follows_the_great_circle() -> None:
    """With M = 1 the speed is the angle between both latents, whose mean is a right one."""
    generator = Linear(torch.cat([torch.eye(Z_DIM), torch.zeros(506, Z_DIM)]))
    for sampling in ("end", "full"):
        config = PathConfig("z", sampling, crop=False)
        arcs = lengths(config, 2000, generator)[0::2].sqrt()
        angles = arcs / math.sqrt(Z_DIM)  # on a circle of the radius that latents have
        assert angles.mean().item() == pytest.approx(math.pi / 2, abs=0.05)
        assert 0 < angles.min() < angles.max() < math.pi + 1e-3


def test_latents_on_a_path_are_as_long_as_those_drawn() -> None:
    """So that a generator which does not normalise them, as SNGAN, sees what it was trained on."""

    class Measuring(Linear):
        def mapping(self, z: Tensor, labels: Tensor) -> Tensor:
            torch.testing.assert_close(z.square().mean(dim=1), torch.ones(len(z)))
            return super().mapping(z, labels)

    for sampling in ("end", "full"):
        lengths(PathConfig("z", sampling, crop=False), 50, Measuring())


def test_both_ends_of_a_step_see_the_same_noise() -> None:
    config = PathConfig("w", "end", crop=False)
    noisy = lengths(config, 50, Linear(noise=0.5))
    torch.testing.assert_close(noisy, lengths(config, 50), rtol=1e-3, atol=0)


def test_nothing_on_a_path_is_rounded_to_tf32() -> None:
    """Steps of 1e-4 would be lost in it."""

    def assert_exact() -> None:
        assert not (torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)

    class Exact(Linear):
        def synthesis(self, ws: Tensor, indices: Sequence[int]) -> Tensor:
            assert_exact()
            return super().synthesis(ws, indices)

    class ExactError(SquaredError):
        def __call__(self, a: Tensor, b: Tensor) -> Tensor:
            assert_exact()
            return super().__call__(a, b)

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    allow_tf32(True, True)
    try:
        path_lengths(Exact(), ExactError(), PathConfig("w", "end", crop=False), range(2))
    finally:
        allow_tf32(*before)


def test_a_path_is_its_own_whatever_the_others() -> None:
    config = PathConfig("w", "full", crop=False)
    whole = lengths(config, 20)
    part = path_lengths(Linear(), SquaredError(), config, [17, 3])
    torch.testing.assert_close(part, whole[[17, 3]], rtol=1e-5, atol=0)
    other = lengths(config, 20, Linear(seed=1))
    assert (other - whole).abs().min() > 1


@pytest.mark.parametrize(
    ("size", "crop", "seen"),
    [
        ((64, 64), False, (64, 64)),
        ((64, 64), True, (32, 32)),
        ((512, 512), False, (256, 256)),
        ((1024, 1024), True, (256, 256)),
        ((300, 512), False, (300, 512)),
    ],
)
def test_images_are_cropped_and_made_smaller(
    size: tuple[int, int], crop: bool, seen: tuple[int, int]
) -> None:
    class Wide(Linear):
        def synthesis(self, ws: Tensor, indices: Sequence[int]) -> Tensor:
            return torch.zeros(len(ws), 3, *size)

    distance = SquaredError()
    path_lengths(Wide(), distance, PathConfig("w", "end", crop), range(2))
    assert distance.sizes == [(3, *seen)]


def test_size_that_is_compared_is_that_of_the_face_where_it_is_cropped() -> None:
    assert compared_size(32, 64, crop=False) == (32, 64)
    assert compared_size(32, 64, crop=True) == (16, 32)
    assert compared_size(512, 1024, crop=False) == (256, 512)


def test_the_crop_is_the_face() -> None:
    """Of aligned portraits: the middle half of the width, rows 3/8 to 7/8."""
    rows = torch.arange(16.0)[:, None].expand(16, 16)
    image = torch.stack([rows, rows.T])[None] / 127.5 - 1
    cropped = path_length._prepare(image, crop=True)
    assert cropped[0, 0, :, 0].tolist() == pytest.approx([6, 7, 8, 9, 10, 11, 12, 13], abs=1e-3)
    assert cropped[0, 1, 0].tolist() == pytest.approx([4, 5, 6, 7, 8, 9, 10, 11], abs=1e-3)


@given(st.integers(0, 1000), st.integers(2, 20), st.floats(0, 1))
@settings(deadline=None)
def test_slerp_keeps_to_the_sphere_at_even_speed(seed: int, width: int, t: float) -> None:
    a, b = normal(5, width, seed).double(), normal(5, width, seed + 1).double()
    share = torch.full((5, 1), t, dtype=torch.float64)
    place = slerp(a, b, share)
    start, end = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
    torch.testing.assert_close(place.norm(dim=1), torch.ones(5).double())
    angle = (start * end).sum(dim=1).clamp(-1, 1).acos()
    torch.testing.assert_close((place * start).sum(dim=1), (angle * t).cos(), atol=1e-7, rtol=0)
    torch.testing.assert_close(slerp(a, b, share * 0 + 1), end, atol=1e-6, rtol=0)
    torch.testing.assert_close(slerp(b, a, 1 - share), place, atol=1e-6, rtol=0)


def test_outliers_at_either_end_do_not_count() -> None:
    values = torch.arange(1000.0)
    values[:5], values[-5:] = -1e9, 1e9
    # Percentiles lie at places 9.99 and 989.01, and are rounded outwards: 9 to 990 are left.
    assert mean_without_outliers(values[torch.randperm(1000)]) == pytest.approx((9 + 990) / 2)
    assert mean_without_outliers(torch.full((7,), 3.0)) == 3


def test_path_length_as_a_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path))
    subject = Subject(Reals(pictures(5)), Fakes(pictures(5)), Linear())
    names = ["ppl2_wend_300", "ppl2_wend_200", "ppl_wfull_200"]
    instruments = Instruments(distance=SquaredError())
    small = measure(parse_metrics(names), subject, instruments, ALONE, batch_size=7)
    large = measure(parse_metrics(names), subject, instruments, ALONE, batch_size=64)
    assert not small.failures and not large.failures
    for one, other in zip(small.records, large.records, strict=True):
        assert one.results == pytest.approx(other.results, rel=1e-5)
    ends = lengths(PathConfig("w", "end", crop=False), 300)
    first, second, cropped = small.records
    assert first.results["ppl2_wend_300"] == pytest.approx(mean_without_outliers(ends), rel=1e-5)
    assert second.results["ppl2_wend_200"] == pytest.approx(
        mean_without_outliers(ends[:200]), rel=1e-5
    )
    assert 0 < cropped.results["ppl_wfull_200"] < second.results["ppl2_wend_200"]
    assert (first.detector, first.resize) == ("squared", "average-256")
    assert (first.num_real, first.num_fake) == (0, 300)
    assert first.fakes == {"network_digest": "ef" * 32, "trunc": 0.25}
