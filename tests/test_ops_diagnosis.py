"""`python -m torch_utils.ops`, with and without what kernels need."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from torch_utils.ops import __main__ as command
from torch_utils.ops import diagnosis
from torch_utils.ops.cuda import jit
from torch_utils.ops.cuda.compiler import ARCHITECTURES, KernelError
from torch_utils.ops.diagnosis import Check, checks, network_kernels

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def few_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path))
    source, name = jit.PROBE
    monkeypatch.setattr(diagnosis, "network_kernels", lambda: {source: [name]})


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU, as far as torch can tell; checks run on the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some GPU")
    monkeypatch.setattr(jit, "architecture", lambda _: "sm_90")
    monkeypatch.setattr(diagnosis, "_driver", lambda: "for CUDA 13.0")
    monkeypatch.setattr(command, "checks", lambda _: checks(CPU, "torch"))


def no_package(_: str) -> None:
    raise KernelError("the Python package cuda.core cannot be imported; run: pip install cuda-core")


def diagnose() -> Result:
    result = CliRunner().invoke(command.main, standalone_mode=False)
    assert result.exception is None
    return result


def test_without_a_gpu_every_architecture_is_compiled() -> None:
    pytest.importorskip("cuda.core")
    result = diagnose()
    assert result.return_value == 0
    for arch in ARCHITECTURES:
        assert f"probe.cu       {arch:<8}       1" in result.output
    assert "There is no GPU" in result.output


@pytest.mark.parametrize("machine, status", [("plain", 0), ("gpu", 1)])
def test_without_packages_only_a_gpu_makes_it_a_failure(
    machine: str, status: int, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if machine == "gpu":
        request.getfixturevalue("gpu")
    monkeypatch.setattr(command, "load_package", no_package)
    result = diagnose()
    assert result.return_value == status
    assert "Kernels cannot be built: " in result.output
    assert "pip install cuda-core" in result.output


def test_a_driver_that_takes_no_kernels_is_a_failure(
    gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cuda.core")
    monkeypatch.setattr(jit, "problem", lambda _: "the driver is old; update it")
    result = diagnose()
    assert result.return_value == 1
    assert "Some GPU, sm_90" in result.output
    assert "Kernels do not run: the driver is old; update it" in result.output


@pytest.mark.parametrize("wrong", [False, True])
def test_kernels_are_checked_on_a_gpu(
    wrong: bool, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cuda.core")
    monkeypatch.setattr(jit, "problem", lambda _: None)
    if wrong:
        found = [Check("bias_act", torch.float32, 1e-7), Check("bias_act", torch.float16, 0.5)]
        monkeypatch.setattr(command, "checks", lambda _: found)
    result = diagnose()
    assert result.return_value == int(wrong)
    assert result.output.count("WRONG") == int(wrong)
    assert ("Kernels work." in result.output) is not wrong


def test_checks_see_a_wrong_value_and_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(check.passed for check in checks(CPU, "torch"))

    def off(x: torch.Tensor, impl: str) -> torch.Tensor:
        return x * 1.1 if x.dtype is not torch.float64 else x

    def no_gradient(x: torch.Tensor, impl: str) -> torch.Tensor:
        return x if x.dtype is torch.float64 else x.detach() + 0 * x

    monkeypatch.setattr(diagnosis, "operators", lambda: {"off": off, "no gradient": no_gradient})
    verdicts = [check.passed for check in checks(CPU, "torch")]
    assert verdicts == [False, False, False, True] * 2  # in float64 both are right


def test_the_kernels_of_the_networks_have_every_dtype_and_both_layouts() -> None:
    kernels = network_kernels()
    assert set(kernels) == {"bias_act.cu", "upfirdn2d.cu"}
    for names in kernels.values():
        assert len(names) == len(set(names))
        for cpp_type in jit.CPP_TYPES.values():
            assert sum(f"<{cpp_type}, " in name for name in names) >= 6
