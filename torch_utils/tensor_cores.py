"""Whether CUDA rounds the factors of float32 products to TF32: a setting of the whole process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def allow_tf32(matmul: bool, cudnn: bool) -> None:
    """Let matrix products, and convolutions of cuDNN, be rounded or not."""
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = cudnn


@contextmanager
def full_float32() -> Iterator[None]:
    """Nothing is rounded to TF32 meanwhile; torch's own default rounds convolutions.

    Also a decorator.
    """
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    allow_tf32(False, False)
    try:
        yield
    finally:
        allow_tf32(*before)
