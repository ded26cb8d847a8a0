"""Endless batches on the device: from memory for small data sets, else by worker processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dnnlib import UserError
from training.data.dataset import ImageDataset
from training.data.sampler import BatchIndices, ShuffledStream


@dataclass(frozen=True)
class Batch:
    """`images`: uint8 `[N, C, H, W]` in 0..255; `labels`: int64 `[N]`; both on the device."""

    images: Tensor
    labels: Tensor


def make_loader(
    dataset: ImageDataset,
    batch_size: int,
    seed: int,
    start_nimg: int,
    device: torch.device,
    workers: int,
    rank: int = 0,
    size: int = 1,
    resident_limit_bytes: int = 2**31,
) -> Iterator[Batch]:
    """Endless batches of `batch_size` images for this rank of `size`.

    The batch at `nimg` images seen by all ranks together depends on `dataset`, `batch_size`,
    `seed`, `rank`, `size` and `nimg` alone, so a run that starts at `start_nimg` goes on as one
    that began at 0. Data sets up to `resident_limit_bytes` of pixels live on the device, larger
    ones are read ahead by `workers` processes (0: by this one). Iterating raises `UserError` for
    an unreadable image and for a dead worker.
    """
    stream = ShuffledStream(len(dataset), seed)
    batches = BatchIndices(stream, batch_size, start_nimg, rank, size)
    image_bytes = dataset.num_channels * dataset.height * dataset.width
    if len(dataset) * image_bytes <= resident_limit_bytes:
        return ResidentLoader(dataset, batches, device, workers)
    return StreamingLoader(dataset, batches, device, workers)


class ResidentLoader(Iterator[Batch]):
    """Batches cut out of one tensor on the device that holds the whole data set."""

    def __init__(
        self, dataset: ImageDataset, batches: BatchIndices, device: torch.device, workers: int
    ) -> None:
        self._images = dataset.load_images(workers, device)
        self._labels = dataset.labels.to(device)
        self._batches = iter(batches)
        self._device = device

    def __next__(self) -> Batch:
        indices = _to_device(next(self._batches), self._device)
        # Several times as fast as indexing on a CPU.
        return Batch(self._images.index_select(0, indices), self._labels.index_select(0, indices))


class StreamingLoader(Iterator[Batch]):
    """Batches read ahead by `workers` processes, through pinned memory where the device is CUDA."""

    def __init__(
        self, dataset: ImageDataset, batches: BatchIndices, device: torch.device, workers: int
    ) -> None:
        loader = DataLoader(
            _BatchReader(dataset),
            sampler=batches,
            batch_size=None,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            worker_init_fn=_ignore_interrupts,
            generator=torch.Generator(),  # leaves the global random state alone
        )
        self._device = device
        with _keep_child_handler():
            self._batches: Iterator[tuple[Tensor, Tensor, str]] = iter(loader)

    def __next__(self) -> Batch:
        images, labels, problem = self._read()
        if problem:
            # Ends the workers now; in the garbage of a traceback each would take five seconds.
            self._batches = iter(())
            raise UserError(problem)
        return Batch(_to_device(images, self._device), _to_device(labels, self._device))

    def _read(self) -> tuple[Tensor, Tensor, str]:
        """The next batch, as `_BatchReader` tells it; a dead worker is a problem too."""
        try:
            return next(self._batches)
        # A worker that died while it handed over a batch shows as a broken connection.
        except (RuntimeError, OSError, EOFError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            if isinstance(error, RuntimeError) and "DataLoader worker" not in reason:
                raise
            return (
                torch.empty(0),
                torch.empty(0),
                f"--workers: a data worker died ({reason}), most often because memory ran out; "
                "use fewer --workers",
            )


class _BatchReader(Dataset[tuple[Tensor, Tensor, str]]):
    """Whole batches: images, labels, and the problem that a user must mend, if any.

    An exception would reach the main process as the worker's traceback; a text arrives as it is.
    """

    def __init__(self, dataset: ImageDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor, str]:
        try:
            return self.dataset.read_batch(indices.tolist()), self.dataset.labels[indices], ""
        except UserError as error:
            return torch.empty(0), torch.empty(0), str(error)


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy without waiting for the device; a batch that is already pinned is not copied twice."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches the whole process group; only the main process decides how a run ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _keep_child_handler() -> Iterator[None]:
    """Undo torch's SIGCHLD handler, which raises for a dead worker wherever the program stands.

    Without it the loader still notices within seconds, where `StreamingLoader` expects it.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield
        return
    previous = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if previous is not None:
            signal.signal(signal.SIGCHLD, previous)
