"""Whole networks compile into one graph, on the operators that they use on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from network_helpers import tiny_config
from torch import Tensor

from torch_utils.ops import bias_act, upfirdn2d
from training.players import Players

Forward = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture
def players(monkeypatch: pytest.MonkeyPatch) -> Players:
    """Networks on registered operators instead of plain operations."""
    for module in (bias_act, upfirdn2d):
        monkeypatch.setattr(module, "takes_kernels", lambda *_: True)
    torch.manual_seed(0)
    torch.compiler.reset()
    return Players(tiny_config(num_channels=3))


@pytest.mark.parametrize("name", ["generator", "discriminator", "classifier"])
def test_forward_pass_is_one_graph(name: str, players: Players) -> None:
    z = torch.randn(3, players.G_ema.mapping.z_dim)
    images, classes, timesteps = torch.randn(3, 3, 16, 16), torch.eye(3), torch.tensor([1, 5, 9])
    forward: Forward = {
        "generator": lambda z, _: players.G_ema(z, classes, noise_mode="const"),
        "discriminator": lambda _, images: players.D(images, classes, timesteps),
        "classifier": lambda _, images: players.C.classify(images, timesteps),
    }[name]
    compiled = torch.compile(forward, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(z, images), forward(z, images))
