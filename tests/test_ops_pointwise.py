"""1x1 convolutions, which are matrix products on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from torch_utils.ops.conv2d_resample import conv2d_resample

LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pointwise_is_a_convolution_to_second_order(
    channels: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, 4, 5, dtype=torch.float64).contiguous(memory_format=layout)
    w = torch.randn(6, channels, 1, 1, dtype=torch.float64, requires_grad=True)
    inputs = [x.requires_grad_(), w]
    found = []
    for y in (conv2d_resample(x, w), F.conv2d(x, w)):
        first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), inputs)
        found.append([y, *first, *second])
    torch.testing.assert_close(*found)


def test_pointwise_of_grey_pictures_is_channels_last() -> None:
    y = conv2d_resample(torch.randn(2, 1, 4, 5), torch.randn(6, 1, 1, 1))
    assert y.is_contiguous(memory_format=torch.channels_last)
