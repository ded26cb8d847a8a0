"""The kernels of upfirdn2d built for every architecture, which needs no GPU."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from upfirdn2d_cases import OTHERS, SEPARABLE, random_inputs

from torch_utils.ops import conv2d_resample
from torch_utils.ops.cuda.compiler import ARCHITECTURES, compile_kernels
from torch_utils.ops.cuda.jit import CPP_TYPES
from torch_utils.ops.cuda.upfirdn2d import upfirdn2d
from torch_utils.ops.filters import setup_filter
from torch_utils.ops.upfirdn2d import upfirdn2d as plain_upfirdn2d
from torch_utils.ops.upfirdn2d_geometry import parse_axes

pytest.importorskip("cuda.core", reason="needs the packages that build kernels")

# What the time of large images goes to.
LARGE = [
    "upfirdn2d_tile<T, 1, 1, 4, 64, 4, 8>",
    "upfirdn2d_tile<T, 1, 1, 4, 64, 1, 32>",
    "upfirdn2d_tile<T, 2, 1, 4, 64, 4, 8>",
    "upfirdn2d_tile<T, 1, 2, 4, 32, 1, 8>",
    "upfirdn2d_channels_last<T, 1, 1, 4, 1, 8>",
    "upfirdn2d_channels_last<T, 2, 1, 4, 2, 4>",
    "upfirdn2d_channels_last<T, 1, 2, 4, 1, 4>",
]
REST = [
    "upfirdn2d_separable<T, 1, 1, 12, 32, 8>",
    "upfirdn2d_general<T, int>",
    "upfirdn2d_general<T, long long>",
]


def build(names: list[str], kind: str, arch: str) -> None:
    names = [name.replace("<T", f"<{kind}") for name in names]
    compiled = compile_kernels("upfirdn2d.cu", names, arch)
    for name in names:
        found = compiled.resources[name]
        assert found.spill_bytes == found.stack_bytes == 0, name
        assert found.registers <= 128, name
        assert found.shared_bytes <= 48 * 1024, name


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_kernels_compile_without_spills(arch: str) -> None:
    build(LARGE + REST, "half_t", arch)


@pytest.mark.parametrize("kind", ["bfloat16_t", "float", "double"])
def test_every_dtype_compiles_without_spills(kind: str) -> None:
    build(LARGE[::2] + REST, kind, "sm_90")


def test_convolutions_that_resample_take_these_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    names: set[str] = set()

    def note(
        x: Tensor, f: Tensor, up: int = 1, down: int = 1, *, gain: int = 1, **rest: Any
    ) -> Tensor:
        axes = parse_axes(up, down, rest["padding"])
        upfirdn2d(x, f, *axes, False, gain, lambda work, _: names.add(work.name))
        return plain_upfirdn2d(x, f, up, down, gain=gain, **rest)

    monkeypatch.setattr(conv2d_resample, "upfirdn2d", note)
    monkeypatch.setattr(conv2d_resample, "_NARROW", 0)  # as on a GPU
    f = setup_filter([1, 3, 3, 1])
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.zeros(1, 8, 64, 64).contiguous(memory_format=layout)
        for kernel, up, down in itertools.product((1, 3), (1, 2), (1, 2)):
            if up * down == 2:
                w = torch.zeros(8, 8, kernel, kernel).contiguous(memory_format=layout)
                conv2d_resample.conv2d_resample(x, w, f, up, down, padding=kernel // 2)
    assert names == {name.replace("<T", "<float") for name in LARGE}


def test_shared_memory_of_long_filters_fits_a_block() -> None:
    names: set[str] = set()
    for case in SEPARABLE + OTHERS:
        x, f = random_inputs(case, torch.float64, torch.contiguous_format)
        upfirdn2d(x, f, case.axis_x, case.axis_y, False, 1.0, lambda work, _: names.add(work.name))
    wanted = sorted(name for name in names if "separable" in name)
    assert len(wanted) >= 5
    build(wanted, CPP_TYPES[torch.float64], "sm_90")
