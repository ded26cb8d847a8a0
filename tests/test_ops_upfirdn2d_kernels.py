"""The kernels of upfirdn2d, compiled for the host, against the plain operations in float64."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
from cuda_host.host import HostKernels, guarded, guards_hold, needs_host_compiler
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from upfirdn2d_cases import (
    COMMON,
    DTYPES,
    LAYOUTS,
    OTHERS,
    SEPARABLE,
    Case,
    assert_near,
    random_inputs,
    square,
)

from torch_utils.ops.cuda.bias_act import memory_format
from torch_utils.ops.cuda.jit import CPP_TYPES, Launch
from torch_utils.ops.cuda.upfirdn2d import Call, Kernel, general, plan, specialised, upfirdn2d
from torch_utils.ops.resampling import resample
from torch_utils.ops.upfirdn2d_geometry import IDENTITY, Axis

pytestmark = needs_host_compiler
GAIN = -1.5


def expected(x: Tensor, f: Tensor | None, case: Case, flip: bool) -> Tensor:
    f = None if f is None else f.double()
    return resample(x.double(), f, case.axis_x, case.axis_y, flip, GAIN)


class Prepared:
    """A call on guarded tensors full of nan, and what it should give."""

    def __init__(
        self, case: Case, dtype: torch.dtype, layout: torch.memory_format, shift: int = 0
    ) -> None:
        flip = layout == torch.channels_last
        pixels, f = random_inputs(case, dtype, layout)
        self.target = expected(pixels, f, case, flip)
        x, _ = guarded(case.shape, dtype, layout, shift)
        # A single pixel is contiguous in either layout; the result is where the operator has it.
        y, self.buffer = guarded(self.target.shape, dtype, memory_format(x, 1), shift)
        self.call = Call(y, x.copy_(pixels), f, case.axis_x, case.axis_y, flip, GAIN)
        kernel = specialised(self.call)
        self.kernel = kernel or general(self.call)

    def check(self, kernels: HostKernels) -> None:
        """Run with the threads in both orders; nothing may be written beside the result."""
        for falling in (False, True):
            self.call.y.fill_(torch.nan)
            kernels.launch(plan(self.call, self.kernel), falling)
            assert_near(self.call.y, self.target)
            assert guards_hold(self.call.y, self.buffer)


def build(prepared: list[Prepared]) -> HostKernels:
    return HostKernels([plan(p.call, p.kernel) for p in prepared])


def in_one_pass(case: Case, layout: torch.memory_format) -> bool:
    kernel = case.kernel if layout == torch.contiguous_format else case.kernel_last
    return kernel != "general" or len(case.taps) != 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_common_shapes_in_every_dtype_and_layout(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    prepared = [Prepared(case, dtype, layout) for case in COMMON for layout in LAYOUTS]
    kernels = build(prepared)
    for one in prepared:
        one.check(kernels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_shapes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    prepared = [
        Prepared(case, dtype, layout)
        for case in SEPARABLE + OTHERS
        for layout in LAYOUTS
        if in_one_pass(case, layout)
    ]
    kernels = build(prepared)
    for one in prepared:
        one.check(kernels)


@pytest.mark.parametrize("case", COMMON + SEPARABLE + OTHERS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_shape_gets_its_kernel(case: Case, layout: torch.memory_format) -> None:
    one = Prepared(case, torch.float32, layout)
    kernel = (
        case.kernel if memory_format(one.call.x, 1) != torch.channels_last else case.kernel_last
    )
    assert one.kernel.name.startswith(f"upfirdn2d_{kernel}".replace("<T", "<float"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_off_the_alignment_of_vectors(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    prepared = [Prepared(case, torch.float16, layout, shift=1) for case in COMMON[1:8:3]]
    assert not any("channels_last" in p.kernel.name or ", 4, 8>" in p.kernel.name for p in prepared)
    kernels = build(prepared)
    for one in prepared:
        one.check(kernels)


axes = st.builds(Axis, *[st.integers(1, 4)] * 2, *[st.integers(-3, 6)] * 2)


@functools.cache
def general_kernels() -> HostKernels:
    one = Prepared(square((1, 1, 4, 4), (2, 2), (1, 1), 0, 0, "general"), torch.float32, LAYOUTS[0])
    small = general(one.call)
    return HostKernels([plan(one.call, small), plan(one.call, wide(small))])


def wide(kernel: Kernel) -> Kernel:
    """The same with 64-bit indices."""
    return kernel._replace(name=kernel.name.replace(", int>", ", long long>"))


@settings(deadline=None)  # the first one builds
@given(
    shape=st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 9)] * 2),
    taps=st.tuples(*[st.integers(1, 6)] * 2),
    axis_x=axes,
    axis_y=axes,
    layout=st.sampled_from(LAYOUTS),
)
@example((1, 2, 1, 1), (1, 1), IDENTITY, Axis(1, 1, 0, 1), torch.channels_last)
def test_general_kernel_on_random_shapes(
    shape: tuple[int, int, int, int],
    taps: tuple[int, int],
    axis_x: Axis,
    axis_y: Axis,
    layout: torch.memory_format,
) -> None:
    if axis_x.output_size(shape[3], taps[1]) < 1 or axis_y.output_size(shape[2], taps[0]) < 1:
        return
    one = Prepared(Case(shape, taps, axis_x, axis_y, ""), torch.float32, layout)
    for kernel in (general(one.call), wide(general(one.call))):
        one.kernel = kernel
        one.check(general_kernels())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [SEPARABLE[0], *OTHERS[8:10]], ids=str)
def test_one_filter_for_both_axes_in_one_pass_or_two(
    case: Case, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    names: list[str] = []

    def run(work: Launch, device: torch.device) -> None:
        names.append(work.name)
        HostKernels([work]).launch(work)

    x, f = random_inputs(case, torch.float32, layout)
    y = upfirdn2d(x, f, case.axis_x, case.axis_y, False, GAIN, run)
    assert_near(y, expected(x, f, case, False))
    assert memory_format(y, 1) == layout
    assert len(names) == (1 if in_one_pass(case, layout) else 2)


def test_arguments_come_in_any_layout_and_type() -> None:
    torch.manual_seed(0)
    case = COMMON[4]
    x, f = random_inputs(case, torch.float32, torch.contiguous_format)
    assert f is not None

    def run(work: Launch, device: torch.device) -> None:
        HostKernels([work]).launch(work)

    for view in (x.transpose(2, 3), x[:, ::2], x[:1].expand(5, -1, -1, -1), x[..., 1:]):
        for taps in (f.T, f.double(), f.expand(2, 4, 4)[1]):
            y = upfirdn2d(view, taps, case.axis_x, case.axis_y, True, GAIN, run)
            assert_near(y, expected(view, taps, case, True))
    with pytest.raises(ValueError, match="f: on the device of x"):
        upfirdn2d(x, f.to("meta"), case.axis_x, case.axis_y, True, GAIN, run)


def test_nothing_is_launched_for_no_output() -> None:
    def run(work: Launch, device: torch.device) -> None:
        raise AssertionError

    x, f = torch.ones(0, 3, 4, 4), torch.ones(2, 2)
    assert upfirdn2d(x, f, IDENTITY, IDENTITY, False, 1.0, run).shape == (0, 3, 3, 3)


def huge(*shape: int) -> Call:
    """A blur of an image that exists in name alone."""
    x = torch.empty(shape, device="meta", dtype=torch.float16)
    return Call(x, x, torch.empty(4, 4, device="meta"), *[Axis(1, 1, 1, 2)] * 2, False, 1.0)


def test_large_tensors_take_64_bit_indices_and_grids_that_exist() -> None:
    assert general(huge(1, 1, 2**15, 2**15)).name.endswith(", int>")
    assert general(huge(1, 2, 2**15, 2**15)).name.endswith(", long long>")
    many = huge(2**21, 2**11, 16, 16)  # more tiles than a grid has blocks
    assert specialised(many) is None
    assert specialised(replace(many, x=many.x[:1], y=many.y[:1])) is not None
    tall = huge(1, 1, 2**31 - 3, 1)
    with pytest.raises(ValueError, match="fewer than 2\\^31 pixels"):
        plan(tall, general(tall))
    assert set(CPP_TYPES) == set(DTYPES)
