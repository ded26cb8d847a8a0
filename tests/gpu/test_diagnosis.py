"""`python -m torch_utils.ops` on a GPU."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from torch_utils.ops.__main__ import main
from torch_utils.ops.cuda import jit

pytestmark = pytest.mark.gpu


def test_the_diagnosis_finds_that_kernels_work() -> None:
    result = CliRunner().invoke(main, standalone_mode=False)
    assert result.return_value == 0, result.output
    assert torch.cuda.get_device_name() in result.output
    assert jit.architecture(0) in result.output
    assert "Kernels work." in result.output
