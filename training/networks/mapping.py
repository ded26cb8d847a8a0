"""The mapping network: latents and conditions to style vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.networks.layers import FullyConnectedLayer, normalize_2nd_moment

W_AVG_BETA = 0.995


class MappingNetwork(nn.Module):
    """z and c, each normalised to unit second moment, through leaky-ReLU layers (StyleGAN).

    `z_dim` or `c_dim` may be 0, not both. With `num_ws` the result is repeated for each layer of
    the synthesis and `w_avg` follows its mean; without (None) it is one vector an image.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int | None,
        num_layers: int,
        lr_multiplier: float,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.num_ws, self.num_layers = num_ws, num_layers
        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, w_dim)
        in_features = z_dim + (w_dim if c_dim > 0 else 0)
        for index in range(num_layers):
            layer = FullyConnectedLayer(
                in_features, w_dim, activation="lrelu", lr_multiplier=lr_multiplier
            )
            self.add_module(f"fc{index}", layer)
            in_features = w_dim
        if num_ws is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor | None,
        c: Tensor,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        center: Tensor | None = None,
        update_emas: bool = False,
    ) -> Tensor:
        """Map latents to styles.

        Args:
            z: `[N, z_dim]`, N(0, 1); None when `z_dim` is 0.
            c: conditions `[N, c_dim]`, one-hot or a mix of them.
            truncation_psi: `center + psi (w - center)` for the first `truncation_cutoff` layers
                (all when None).
            center: `[w_dim]` or `[N, w_dim]`; None for `w_avg`.
            update_emas: let `w_avg` follow this batch.

        Returns `[N, num_ws, w_dim]`, or `[N, w_dim]` without `num_ws`.
        """
        parts = [] if z is None else [normalize_2nd_moment(z.float())]
        if self.c_dim > 0:
            parts.append(normalize_2nd_moment(self.embed(c.float())))
        x = torch.cat(parts, dim=1)
        for index in range(self.num_layers):
            x = self.get_submodule(f"fc{index}")(x)
        if self.num_ws is None:
            return x
        if update_emas:
            self.w_avg.copy_(x.detach().mean(dim=0).lerp(self.w_avg, W_AVG_BETA))
        ws = x[:, None].repeat(1, self.num_ws, 1)
        if truncation_psi != 1:
            middle = (self.w_avg if center is None else center).reshape(-1, 1, self.w_dim)
            cutoff = self.num_ws if truncation_cutoff is None else truncation_cutoff
            ws = torch.cat([middle.lerp(ws[:, :cutoff], truncation_psi), ws[:, cutoff:]], dim=1)
        return ws
