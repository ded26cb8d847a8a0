"""The stand-in for CUDA that runs kernels on a CPU: does it see what it is meant to see?"""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch
from cuda_host import host
from cuda_host.host import HostKernels, guarded, guards_hold, needs_host_compiler

from torch_utils.ops.cuda import compiler
from torch_utils.ops.cuda.jit import Launch

pytestmark = needs_host_compiler

SOURCE = """
struct Params { float* y; long long size; };

// Each block writes its numbers in reverse, through shared memory.
template <bool Barrier>
__global__ void reversed(const Params p) {
    __shared__ float numbers[8];
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    numbers[thread] = blockIdx.x * 8 + thread;
    if (Barrier) {
        __syncthreads();
    }
    p.y[blockIdx.x * 8 + thread] = numbers[7 - thread];
}
"""


class Params(ctypes.Structure):
    """`Params` of SOURCE."""

    _fields_ = (("y", ctypes.c_void_p), ("size", ctypes.c_longlong))


def run(barrier: str, falling: bool, blocks: int = 3) -> tuple[list[float], bool]:
    """The 24 numbers, and whether none was written beyond them."""
    y, buffer = guarded((24,), torch.float32, torch.contiguous_format)
    work = Launch(
        "reversed.cu", f"reversed<{barrier}>", (blocks, 1, 1), (4, 2, 1), Params(y.data_ptr(), 24)
    )
    HostKernels([work]).launch(work, falling)
    return y.tolist(), guards_hold(y, buffer)


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reversed.cu").write_text(SOURCE)
    for module in (host, compiler):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(host, "BUILD", tmp_path)


def test_threads_meet_at_a_barrier_in_either_order() -> None:
    expected = [block * 8 + 7.0 - i for block in range(3) for i in range(8)]
    assert run("true", falling=False) == (expected, True)
    assert run("true", falling=True) == (expected, True)


def test_a_missing_barrier_shows_in_one_of_the_orders() -> None:
    assert run("false", falling=False)[0] != run("false", falling=True)[0]


def test_writing_beyond_a_tensor_is_seen() -> None:
    assert not run("true", falling=False, blocks=4)[1]
