"""Tests marked `gpu` are skipped without a CUDA device; with REQUIRE_GPU=1 they fail instead."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail before any fixture touches the device."""
    if item.get_closest_marker("gpu") is None or torch.cuda.is_available():
        return
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail("REQUIRE_GPU=1, and torch finds no CUDA device", pytrace=False)
    pytest.skip("no CUDA device")


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Tensors that nobody has filled yet hold nan."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(8).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)
