"""A way through latents and conditions, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from torch_utils.seeding import derive_seed
from training.generation.conditions import as_tensor
from training.generation.routes import Route
from training.generation.synthesis import Synthesizer, latents

Space = Literal["w", "z"]
Easing = Literal["linear", "smooth"]


class Journey:
    """The pictures along a route, in a grid of (columns, rows) that travel side by side.

    Cell i of the grid follows the same conditions, with its seeds raised by i times the span of
    the seeds: after seeds 0 and 1 the next cell has 2 and 3. In space `w` styles are mixed, in `z`
    latents along a great circle and conditions, that is embeddings of classes. With `loop` the
    first station follows the last.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        route: Route,
        grid: tuple[int, int] = (1, 1),
        space: Space = "w",
        loop: bool = False,
    ) -> None:
        self.synthesizer = synthesizer
        self._space, self._loop = space, loop
        generator = synthesizer.generator
        span = max(route.seeds) - min(route.seeds) + 1
        offsets = [cell * span for cell in range(grid[0] * grid[1])]
        stations = list(zip(route.seeds, route.conditions, strict=True))
        if loop:
            stations.append(stations[0])
        self._transitions = len(stations) - 1
        self._noise_seeds = [route.seeds[0] + offset for offset in offsets]
        # Stations by cells: `[S, M, z_dim]`, `[S, M, c_dim]`, `[S, M, num_ws, w_dim]`.
        self._z = torch.stack(
            [
                latents([seed + offset for offset in offsets], generator.z_dim)
                for seed, _ in stations
            ]
        )
        c = as_tensor([condition for _, condition in stations], generator.c_dim)
        self._c = c[:, None].expand(-1, len(offsets), -1)
        ws = synthesizer.styles(self._z.flatten(0, 1), self._c.flatten(0, 1))
        self._ws = ws.reshape(len(stations), len(offsets), *ws.shape[1:])

    def steps(self, count: int, easing: Easing, batch: int) -> Iterator[Tensor]:
        """`count` steps (two or more), each with the pictures of all cells, uint8 `[M, C, H, W]`.

        They are evenly spaced in time, which `easing` turns into way: `smooth` slows down at the
        stations. About `batch` pictures are made at a time.
        """
        num_cells = self._z.shape[1]
        size, total = self.synthesizer.whole_groups(batch), count * num_cells
        waiting: list[Tensor] = []
        for first in range(0, total, size):
            indices = torch.arange(first, min(first + size, total))
            waiting += self._pictures(indices, count, easing).cpu()
            while len(waiting) >= num_cells:
                yield torch.stack(waiting[:num_cells])
                del waiting[:num_cells]

    def _pictures(self, indices: Tensor, count: int, easing: Easing) -> Tensor:
        """uint8 `[N, C, H, W]`; index i is cell `i % M` of step `i // M`."""
        num_cells = self._z.shape[1]
        step, cell = indices // num_cells, indices % num_cells
        # A loop's last step stands one before its first; else both ends are shown.
        last = count if self._loop else count - 1
        position = step.double() * self._transitions / last
        station = position.long().clamp(max=self._transitions - 1)
        t = (position - station).float()
        if easing == "smooth":
            t = t * t * (3 - 2 * t)
        noise_seeds = [
            derive_seed(self._noise_seeds[i], "frame", frame)
            for frame, i in zip(step.tolist(), cell.tolist(), strict=True)
        ]
        return self.synthesizer.render(self._styles(station, cell, t), noise_seeds)

    def _styles(self, station: Tensor, cell: Tensor, t: Tensor) -> Tensor:
        """Styles `[N, num_ws, w_dim]` at the share `t` of the way from `station` to the next."""
        if self._space == "w":
            there = self._ws.device
            station, cell, t = station.to(there), cell.to(there), t.to(there)
            return torch.lerp(
                self._ws[station, cell], self._ws[station + 1, cell], t[:, None, None]
            )
        z = slerp(self._z[station, cell], self._z[station + 1, cell], t[:, None])
        c = torch.lerp(self._c[station, cell], self._c[station + 1, cell], t[:, None])
        return self.synthesizer.styles(z, c)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Along the great circle from rows of `a` to rows of `b`, `[N, D]`, at `t` `[N, 1]` in 0..1.

    Shoemake 1985; straight where the directions are all but the same. Latents between two normal
    ones keep a likely length, which a straight line would cut short.
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1)[:, None].clamp(-1, 1)
    angle = torch.acos(cosine)
    straight = angle < 1e-3
    safe = torch.where(straight, 1.0, angle)
    curved = (torch.sin((1 - t) * safe) * a + torch.sin(t * safe) * b) / torch.sin(safe)
    return torch.where(straight, torch.lerp(a, b, t), curved)
