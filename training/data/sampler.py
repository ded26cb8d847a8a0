"""Endless shuffled image indices that need no state to resume."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler


class ShuffledStream:
    """The endless stream of image indices: each epoch a new permutation of all images.

    What stands at a position depends on `num_images`, `seed` and the position alone.
    """

    def __init__(self, num_images: int, seed: int) -> None:
        assert num_images > 0
        self.num_images = num_images
        self.seed = seed
        self._cached: tuple[int, Tensor] | None = None

    def indices(self, start: int, count: int) -> Tensor:
        """Indices at positions `start` to `start + count - 1`, int64 `[count]`."""
        parts: list[Tensor] = []
        while count > 0:
            epoch, offset = divmod(start, self.num_images)
            part = self._permutation(epoch)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if self._cached is None or self._cached[0] != epoch:
            # SeedSequence keeps neighbouring seeds and epochs from sharing permutations.
            entropy = np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))
            self._cached = epoch, torch.randperm(self.num_images, generator=generator)
        return self._cached[1]


class BatchIndices(Sampler[Tensor]):
    """Endless batches of indices, int64 `[batch_size]`, for one of `size` ranks.

    At `nimg` images seen by all ranks together, rank r takes the r-th `batch_size` positions from
    `nimg` on; the first batch stands at `start_nimg`.
    """

    def __init__(
        self, stream: ShuffledStream, batch_size: int, start_nimg: int, rank: int, size: int
    ) -> None:
        assert batch_size > 0 and start_nimg >= 0 and 0 <= rank < size
        self.stream = stream
        self.batch_size = batch_size
        self.start_nimg = start_nimg
        self.rank = rank
        self.size = size

    def __iter__(self) -> Iterator[Tensor]:
        nimg = self.start_nimg
        while True:
            yield self.stream.indices(nimg + self.rank * self.batch_size, self.batch_size)
            nimg += self.size * self.batch_size
