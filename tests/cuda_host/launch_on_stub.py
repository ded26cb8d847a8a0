"""Run by test_ops_jit.py beside the stand-in driver: asks for kernels and launches one twice."""

from __future__ import annotations

import ctypes
from contextlib import nullcontext
from types import SimpleNamespace
from unittest.mock import patch

import torch

from torch_utils.ops.cuda import jit

DEVICE = torch.device("cuda", 0)


class Params(ctypes.Structure):
    """What a kernel would take."""

    _fields_ = (("value", ctypes.c_int),)


with (
    patch("torch.cuda.is_available", lambda: True),
    patch("torch.cuda.device", lambda _: nullcontext()),
    patch("torch.cuda.get_device_capability", lambda _: (9, 0)),
    patch("torch.cuda.current_stream", lambda _: SimpleNamespace(cuda_stream=0x77)),
):
    print(jit.available(DEVICE), jit.available(DEVICE))
    if jit.available(DEVICE):
        for value in (5, 6):
            work = jit.Launch(*jit.PROBE, (1, 2, 3), (4, 5, 6), Params(value), shared_bytes=7)
            jit.launch(work, DEVICE)
