"""The kernels of bias_act, compiled for the host, against the float64 primitives."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from cuda_host.host import HostKernels, guarded, guards_hold, needs_host_compiler
from torch import Tensor
from torch.nn import functional as F

from torch_utils.ops import bias_act_ops
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.bias_act_activations import ACTIVATIONS, ActivationName
from torch_utils.ops.cuda.bias_act import Spec, Terms, plan
from torch_utils.ops.cuda.jit import Launch

pytestmark = needs_host_compiler

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 1.6e-2, torch.float32: 2e-6, torch.float64: 1e-13}
LAYOUTS = [torch.contiguous_format, torch.channels_last]
PRIMITIVES = [bias_act_ops.bias_act, bias_act_ops.bias_act_grad, bias_act_ops.bias_act_grad2]


@dataclasses.dataclass(frozen=True)
class Case:
    """One instantiation of the kernel."""

    act: str
    order: int
    dtype: torch.dtype = torch.float32
    terms: str = "bias"  # none, bias, modulated
    channels_last: bool = False
    vectors: bool = True
    wide: bool = False  # 64-bit indices

    def __str__(self) -> str:
        return "-".join(str(value) for value in vars(self).values())


CASES = [Case(act, 0, dtype) for act, dtype in itertools.product(ACTIVATIONS, DTYPES)]
CASES += [
    Case(act, order, dtype, "none" if activation.from_output else "bias")
    for (act, activation), dtype in itertools.product(ACTIVATIONS.items(), DTYPES)
    for order in ((1,) if activation.curve is None else (1, 2))
]
CASES += [
    Case(act, order, dtype, terms, channels_last, vectors, wide)
    for act, order in (("lrelu", 0), ("swish", 2))
    for dtype in (torch.float16, torch.float64)
    for terms, channels_last, vectors, wide in (
        ("bias", True, True, False),
        ("bias", False, False, False),
        ("bias", True, False, False),
        ("modulated", False, True, False),
        ("modulated", True, True, True),
        ("modulated", False, False, True),
        ("modulated", True, False, False),
    )
]
VECTOR_SHAPES = [(1, 8, 2, 4), (2, 16, 3, 8), (3, 8, 4, 10), (1, 40, 8, 32)]
ODD_SHAPES = [(1, 3, 1, 3), (2, 3, 5, 7), (3, 5, 3, 9), (1, 41, 9, 31)]


@dataclasses.dataclass(frozen=True)
class Run:
    """A launch with the buffers it fills and what it should fill them with."""

    work: Launch
    results: list[tuple[Tensor, Tensor]]  # with the guarded buffers around them
    expected: list[Tensor]
    inputs: list[Tensor | None]  # kept alive


def prepare(case: Case, shape: tuple[int, int, int, int], clamp: float | None) -> Run:
    """Random inputs of `shape`; the expected results come from the same values in float64."""
    n, c, h, w = shape
    layout = LAYOUTS[case.channels_last]
    spec = Spec(1, case.act, alpha=0.2, gain=1.5, clamp=clamp)

    def random(*size: int) -> Tensor:
        return (torch.randn(size) * 2).to(case.dtype)

    def like_x(value: Tensor) -> Tensor:
        tensor, _ = guarded(shape, case.dtype, layout)
        return tensor.copy_(value)

    terms = Terms(
        b=None if case.terms == "none" else random(c),
        scale=random(n, c) if case.terms == "modulated" else None,
        noise=random(n if n > 2 else 1, 1, h, w) if case.terms == "modulated" else None,
    )
    x = like_x(random(*shape))
    if case.order and ACTIVATIONS[case.act].from_output:
        x = like_x(bias_act_ops.bias_act(x, None, None, None, *spec))
    gradients = [like_x(random(*shape)) for _ in range(case.order)]
    results = [guarded(shape, case.dtype, layout) for _ in range(max(case.order, 1))]
    work = plan(tuple(tensor for tensor, _ in results), x, terms, spec, *gradients)
    if case.wide:
        name = work.name.replace("unsigned int", "unsigned long long")
        work = dataclasses.replace(work, name=name)
    tensors = [*gradients, x, *terms]
    exact = [None if t is None else t.double() for t in tensors]
    if clamp is not None:  # the clamp that y can hold decides where the slope is zero
        spec = spec._replace(clamp=torch.tensor(clamp, dtype=case.dtype).item())
    expected = PRIMITIVES[case.order](*exact, *spec)
    return Run(work, results, [expected] if case.order < 2 else list(expected), tensors)


@pytest.fixture(scope="module")
def kernels() -> HostKernels:
    shapes = {True: VECTOR_SHAPES[0], False: ODD_SHAPES[0]}
    return HostKernels(prepare(case, shapes[case.vectors], None).work for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_match_float64_and_write_nothing_else(case: Case, kernels: HostKernels) -> None:
    torch.manual_seed(CASES.index(case))
    shapes = VECTOR_SHAPES if case.vectors else ODD_SHAPES
    for shape, clamp in zip(shapes, (None, 0.9, 1.1, 1.3), strict=True):
        run = prepare(case, shape, clamp)
        assert run.work.name.endswith(", 1>") is not case.vectors
        kernels.launch(run.work)
        tolerance = TOLERANCE[case.dtype]
        for (result, buffer), expected in zip(run.results, run.expected, strict=True):
            torch.testing.assert_close(
                result.double(), expected, rtol=tolerance, atol=tolerance, check_stride=False
            )
            assert guards_hold(result, buffer)


@pytest.fixture
def on_host(kernels: HostKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what launches kernels on a GPU launch them here."""
    monkeypatch.setattr(bias_act_ops, "launch", lambda work, _: kernels.launch(work))


def spec(act: str = "linear", dim: int = 1, gain: float = 1.0, clamp: float | None = None) -> Spec:
    return Spec(dim, act, 0.2, gain, clamp)


STRIDED = [  # tensor, dim of the channels
    (torch.randn(5, 8), 1),
    (torch.randn(8, 5), 0),
    (torch.randn(8), 0),
    (torch.randn(3, 8, 4, 5).transpose(0, 1), 0),
    (torch.randn(3, 4, 5, 8).permute(0, 3, 1, 2), 1),
    (torch.randn(3, 4, 5, 8).permute(0, 3, 1, 2), 2),
    (torch.randn(3, 4, 8, 5).permute(0, 2, 1, 3), 1),
    (torch.randn(2, 3, 8, 2, 2), 2),
    (torch.randn(1, 8, 1, 1).expand(3, 8, 4, 4), 1),
    (torch.randn(0, 8, 4, 4), 1),
    (torch.randn(3, 8, 0, 4), 1),
    (torch.randn(33)[1:].reshape(1, 8, 2, 2), 1),  # off its 16-byte alignment
]


@pytest.mark.parametrize("number", range(len(STRIDED)))
def test_any_strides_give_the_numbers_of_the_plain_operators(number: int, on_host: None) -> None:
    x, dim = STRIDED[number]
    x = x.double() if number < len(STRIDED) - 1 else x
    rest = spec("lrelu", dim, clamp=1.0)
    b = torch.randn(2 * x.shape[dim], dtype=x.dtype)[::2]
    y = bias_act_ops._run_kernel(x, b, None, None, *rest)
    expected = bias_act_ops.bias_act(x, b, None, None, *rest)
    torch.testing.assert_close(y, expected)
    assert y.stride() == expected.stride()
    dy = torch.randn(x.shape[:1], dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1)).expand(x.shape)
    dz = bias_act_ops._run_kernel(dy, y, None, None, None, *rest)
    expected = bias_act_ops.bias_act_grad(dy, y, None, None, None, *rest)
    torch.testing.assert_close(dz, expected)


@pytest.mark.parametrize("layout, width", [(LAYOUTS[0], 2), (LAYOUTS[1], 1)])
def test_a_bias_off_its_alignment_matters_where_it_is_read_in_vectors(
    layout: torch.memory_format, width: int, on_host: None
) -> None:
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64).contiguous(memory_format=layout)
    terms, lrelu = Terms(torch.randn(9, dtype=torch.float64)[1:]), spec("lrelu")
    assert plan((torch.empty_like(x),), x, terms, lrelu).name.endswith(f", {width}>")
    y = bias_act_ops._run_kernel(x, *terms, *lrelu)
    torch.testing.assert_close(y, bias_act_ops.bias_act(x, *terms, *lrelu))


def test_a_number_without_dimensions_is_taken(on_host: None) -> None:
    x = torch.tensor(-2.0, dtype=torch.float64)
    result = bias_act_ops._run_kernel(x, None, None, None, *spec("lrelu", 0))
    torch.testing.assert_close(result, 0.2 * x)


def test_scale_and_noise_are_applied_each_alone(on_host: None) -> None:
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    scale, noise = x[:, :, 0, 0] + 1, x[:1, :1] + 1
    rest = spec("lrelu")
    y = bias_act_ops._run_kernel(x, None, scale, None, *rest)
    torch.testing.assert_close(y, F.leaky_relu(x * scale[:, :, None, None], 0.2))
    y = bias_act_ops._run_kernel(x, None, None, noise, *rest)
    torch.testing.assert_close(y, F.leaky_relu(x + noise, 0.2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_round_as_torch_rounds_them(dtype: torch.dtype, on_host: None) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    for gain in (1.0, 1 / 3, 3.0):
        rest = spec(gain=gain)
        y = bias_act_ops._run_kernel(every[None, None], every.new_zeros(1), None, None, *rest)
        expected = (every.float() * torch.tensor(gain, dtype=torch.float32)).to(dtype)
        torch.testing.assert_close(y[0, 0], expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("clamp", [None, 2.0])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_nan_and_infinity_pass_as_in_plain_operations(
    act: ActivationName, clamp: float | None, on_host: None
) -> None:
    x = torch.tensor([[[torch.nan, torch.inf, -torch.inf, 0.0]]])
    rest = spec(act, gain=1.5, clamp=clamp)
    y = bias_act_ops._run_kernel(x, torch.zeros(1), None, None, *rest)
    expected = bias_act(x, act=act, gain=1.5, clamp=clamp, impl="torch")
    torch.testing.assert_close(y, expected, equal_nan=True)
