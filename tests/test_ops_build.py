"""Every kernel built for every architecture, which needs no GPU, and what its threads take."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from upfirdn2d_cases import OTHERS, SEPARABLE, random_inputs

from torch_utils.ops import conv2d_resample
from torch_utils.ops.bias_act import ACTIVATIONS
from torch_utils.ops.cuda.bias_act import kernel_name
from torch_utils.ops.cuda.compiler import ARCHITECTURES, compile_kernels
from torch_utils.ops.cuda.jit import CPP_TYPES
from torch_utils.ops.cuda.upfirdn2d import upfirdn2d
from torch_utils.ops.diagnosis import network_kernels
from torch_utils.ops.filters import setup_filter
from torch_utils.ops.upfirdn2d import upfirdn2d as plain_upfirdn2d
from torch_utils.ops.upfirdn2d_geometry import parse_axes

pytest.importorskip("cuda.core", reason="needs the packages that build kernels")

# What networks do not launch: long filters, and whatever has no kernel of its own.
OTHER_UPFIRDN2D = ("separable<T, 1, 1, 12, 32, 8>", "general<T, int>", "general<T, long long>")


def build(source: str, names: Iterable[str], arch: str, registers: int, shared_bytes: int) -> None:
    """Compile at once; no kernel spills or takes more than the limits."""
    names = sorted(set(names))
    compiled = compile_kernels(source, names, arch)
    assert compiled.cubin.startswith(b"\x7fELF")
    assert len(set(compiled.symbols.values())) == len(names)
    for name in names:
        found = compiled.resources[name]
        assert found.spill_bytes == found.stack_bytes == 0, name
        assert found.registers <= registers, name
        assert found.shared_bytes <= shared_bytes, name


def build_upfirdn2d(names: Iterable[str], arch: str) -> None:
    registers = 136 if arch == "sm_75" else 128  # the former rounds to bfloat16 step by step
    build("upfirdn2d.cu", names, arch, registers, shared_bytes=48 * 1024)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_activation_and_derivative_of_bias_act(arch: str) -> None:
    names = network_kernels()["bias_act.cu"]
    names += [
        kernel_name(dtype, act, order, "Bias", vectors=vectors, wide=not vectors)
        for dtype, act in itertools.product(CPP_TYPES, ACTIVATIONS)
        for order, vectors in ((0, True), (1, True), (2, True), (0, False))
    ]
    assert len(set(names)) >= 4 * 9 * 4
    # 64 registers leave room for four blocks of 256 threads at once.
    build("bias_act.cu", names, arch, registers=64, shared_bytes=0)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_kind_and_dtype_of_upfirdn2d(arch: str) -> None:
    names = network_kernels()["upfirdn2d.cu"]
    names += [
        f"upfirdn2d_{name}".replace("<T", f"<{kind}")
        for kind, name in itertools.product(CPP_TYPES.values(), OTHER_UPFIRDN2D)
    ]
    build_upfirdn2d(names, arch)


def test_shared_memory_of_long_filters_fits_a_block() -> None:
    names: set[str] = set()
    for case in SEPARABLE + OTHERS:
        x, f = random_inputs(case, torch.float64, torch.contiguous_format)
        upfirdn2d(x, f, case.axis_x, case.axis_y, False, 1.0, lambda work, _: names.add(work.name))
    wanted = [name for name in names if "separable" in name]
    assert len(wanted) >= 5
    build_upfirdn2d(wanted, "sm_90")


def test_convolutions_that_resample_take_the_kernels_of_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
    assert names == {name for name in network_kernels()["upfirdn2d.cu"] if "<float" in name}
