"""Kernels are compiled, kept on disk, and launched as torch would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.cuda import cache, compiler, jit
from torch_utils.ops.cuda.cache import cached_kernels
from torch_utils.ops.cuda.compiler import KernelError, compile_kernels

pytest.importorskip("cuda.core", reason="cuda-core is not installed")

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


def test_a_mistake_in_a_source_names_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "FOLDER", tmp_path)
    (tmp_path / "wrong.cu").write_text("__global__ void wrong() {\n    int x = ;\n}\n")
    with pytest.raises(KernelError, match=r"(?s)wrong\.cu: does not compile.*wrong\.cu\(2\)"):
        compile_kernels("wrong.cu", ["wrong"], "sm_90")


def test_an_architecture_unknown_to_the_compiler_is_told_with_the_cure() -> None:
    with pytest.raises(KernelError, match=r"does not compile for sm_999; .* pip install"):
        compile_kernels(*probe(), "sm_999")


def probe() -> tuple[str, list[str]]:
    source, name = jit.PROBE
    return source, [name]


def test_a_second_process_takes_what_the_first_one_left(monkeypatch: pytest.MonkeyPatch) -> None:
    first = cached_kernels(*probe(), "sm_90")
    monkeypatch.setattr(cache, "compile_kernels", None)
    assert cached_kernels(*probe(), "sm_90") == first


@pytest.mark.parametrize("harm", ["truncated", "changed", "empty"])
def test_a_damaged_file_is_compiled_again(harm: str, cache_folder: Path) -> None:
    first = cached_kernels(*probe(), "sm_90")
    (path,) = cache_folder.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 2
    harmed = {
        "truncated": whole[:middle],
        "changed": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "empty": b"",
    }
    path.write_bytes(harmed[harm])
    assert cached_kernels(*probe(), "sm_90") == first
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "file"))
    said: list[str] = []
    monkeypatch.setattr(cache.logger, "warning", said.append)
    assert cached_kernels(*probe(), "sm_90").cubin
    assert "not kept" in said[0]


def test_the_digest_covers_all_that_decides_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(names: list[str] | None = None, arch: str = "sm_90") -> str:
        return compiler.digest("bias_act.cu", names or ["bias_act"], arch)

    digests = [digest(), digest(["other"]), digest(arch="sm_80")]
    monkeypatch.setattr(compiler, "compiler_version", lambda: (1, 2))
    digests.append(digest())
    monkeypatch.setattr(compiler, "OPTIONS", {"std": "c++20"})
    digests.append(digest())
    shutil.copytree(compiler.FOLDER, tmp_path / "cuda")
    monkeypatch.setattr(compiler, "FOLDER", tmp_path / "cuda")
    assert digest() == digests[-1]
    with (tmp_path / "cuda" / "types.cuh").open("a") as file:
        file.write("// included by bias_act.cu\n")
    digests.append(digest())
    assert len(set(digests)) == len(digests) == 6


def build(_: int) -> bytes:
    return cached_kernels(*probe(), "sm_80").cubin


def test_processes_that_start_at_once_leave_one_whole_file(cache_folder: Path) -> None:
    with ProcessPoolExecutor(4, get_context("fork")) as pool:
        built = list(pool.map(build, range(8)))
    assert len(set(built)) == 1
    assert [path.suffix for path in cache_folder.iterdir()] == [".kernel"]


REMEMBERED = (jit._device_problem, jit._warn, jit.get_kernel, compiler.compiler_version)


@pytest.fixture
def warnings_without_cuda_core(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A GPU, as far as torch can tell, on a machine without cuda-core."""

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(jit, "architecture", lambda _: "sm_90")
    monkeypatch.setattr(compiler.importlib, "import_module", missing)
    said: list[str] = []
    monkeypatch.setattr(jit.logger, "warning", said.append)
    for function in REMEMBERED:
        function.cache_clear()
    yield said
    for function in REMEMBERED:
        function.cache_clear()


def test_one_warning_names_cause_and_cure(warnings_without_cuda_core: list[str]) -> None:
    for index in (0, 0, 1):
        assert not jit.available(torch.device("cuda", index))
    (said,) = warnings_without_cuda_core
    assert "cuda.bindings.nvrtc" in said
    assert "pip install" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("nvrtc", "torchs", "refused"),
    [(12, "13.0", False), (13, "13.0", False), (13, None, False), (13, "12.8", True)],
)
def test_a_compiler_newer_than_the_cuda_of_torch_is_refused(
    monkeypatch: pytest.MonkeyPatch, nvrtc: int, torchs: str | None, refused: bool
) -> None:
    """A driver as old as that CUDA would load nothing of what it compiles."""
    package = SimpleNamespace(nvrtcVersion=lambda: (0, nvrtc, 1))
    monkeypatch.setattr(compiler, "load_package", lambda _: package)
    monkeypatch.setattr(torch.version, "cuda", torchs)
    version = compiler.compiler_version.__wrapped__
    if refused:
        cure = r"pip uninstall nvidia-cuda-nvrtc, .*cuda-bindings==12\.\*\" nvidia-cuda-nvrtc-cu12$"
        with pytest.raises(KernelError, match=rf"^NVRTC 13\.1 .* CUDA 12\.8 refuses; .*{cure}"):
            version()
    else:
        assert version() == (nvrtc, 1)


def test_asking_for_kernels_that_cannot_be_is_an_error(
    warnings_without_cuda_core: list[str],
) -> None:
    with pytest.raises(KernelError, match=r"impl: cuda cannot be had.*pip install"):
        jit.require(torch.device("cuda", 0))
    with pytest.raises(ValueError, match="impl: cuda needs tensors on a CUDA device, found cpu"):
        bias_act(torch.zeros(2, 3), impl="cuda")
    with pytest.raises(ValueError, match=r"impl: cuda takes torch\.float16.*found torch\.int32"):
        bias_act(torch.zeros(2, 3, dtype=torch.int32), impl="cuda")
    assert warnings_without_cuda_core == []


def test_a_compiled_graph_asks_once_and_breaks_nowhere() -> None:
    @torch.compile(fullgraph=True, backend="eager")
    def function(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if jit.available(x.device) else x + 2

    assert function(torch.zeros(1)) == 2


def test_the_compiler_of_torch_is_loaded_only_where_it_is_used() -> None:
    code = "import sys, torch_utils.ops.modulated_conv2d; print('torch._dynamo' in sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def run_on_stub(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run cuda_host/launch_on_stub.py with the stand-in for the driver."""
    if shutil.which("gcc") is None:
        pytest.skip("no host compiler")
    stub = HERE / "cuda_host" / "driver_stub.c"
    library = folder / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", stub, "-o", library], check=True)
    compiled = cached_kernels(*probe(), "sm_90")
    assert compiled.symbols == {"probe": "_Z5probev"}
    paths = {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(HERE.parent)}
    return subprocess.run(
        [sys.executable, HERE / "cuda_host" / "launch_on_stub.py"],
        env=os.environ | paths | environment,
        capture_output=True,
        text=True,
        check=True,
    )


def test_a_kernel_is_loaded_once_and_launched_as_described(tmp_path: Path) -> None:
    result = run_on_stub(tmp_path)
    launch = "launch 0x4000 grid 1 2 3 block 4 5 6 shared 7 stream 0x77 value"
    loading = ["current", "capture mode 2", "load cubin", "kernel _Z5probev", "capture mode 0"]
    # The first launch finds no context in its thread, which then gets one.
    assert result.stderr.splitlines() == [
        *loading, f"{launch} 5", "current", f"{launch} 5", f"{launch} 6"
    ]  # fmt: skip
    assert result.stdout == "True True\n"


def test_a_driver_that_refuses_the_code_turns_kernels_off(tmp_path: Path) -> None:
    result = run_on_stub(tmp_path, STUB_REFUSES="1")
    assert result.stdout == "False False\n"
    assert "capture mode 0" in result.stderr
    assert result.stderr.count("CUDA kernels are off") == 1
    assert "the driver does not load what NVRTC" in result.stderr
