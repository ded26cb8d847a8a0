"""Running statistics on a device that lacks float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from torch_utils.stats import Stats
from torch_utils.world import World


class WithoutFloat64(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The meta device as MPS is: it holds no float64, and what is copied from it reaches the host.

    Ones arrive there, for the meta device has no values.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("dtype") == torch.float64 and args[0].device.type == "meta":
            raise TypeError("MPS does not support float64")  # not on the way to the host either
        if func is torch.ops.aten._to_copy.default and kwargs.get("device") == torch.device("cpu"):
            return torch.ones(args[0].shape)
        result = func(*args, **kwargs)
        assert not any(
            leaf.device.type == "meta" and leaf.dtype == torch.float64
            for leaf in tree_leaves(result)
            if isinstance(leaf, Tensor)
        )
        return result


def test_a_device_needs_no_float64() -> None:
    device = torch.device("meta")
    stats = Stats(World(device))
    with WithoutFloat64():
        stats.report("loss", torch.zeros(3, device=device))
        assert stats.collect() == {"loss": (1.0, 0.0)}
