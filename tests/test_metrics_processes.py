"""Any number of processes give the scores of one."""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from metrics_helpers import ALONE, Fakes, PixelClasses, Pixels, Reals, pictures
from test_metrics_path_length import Linear, SquaredError
from torch import Tensor

from dnnlib.errors import RunError
from dnnlib.logs import logger
from metrics.instruments import Instruments
from metrics.names import parse_metrics
from metrics.records import append_record
from metrics.sharing import own_share, shared_rows
from metrics.sources import Subject
from metrics.suite import Measurement, measure
from torch_utils.spawn import run_processes
from torch_utils.world import World

NAMES = ("fid60_full", "kid50", "pr553_full", "is60", "intra_kid60", "acc45", "ppl2_wend_21")
CPU = torch.device("cpu")


@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 7))
def test_shares_are_all_images_in_order_and_whole_batches(
    count: int, batch_size: int, size: int
) -> None:
    shares = [own_share(count, batch_size, World(CPU, rank, size)) for rank in range(size)]
    assert list(itertools.chain(*shares)) == list(range(count))
    assert all(share.start % batch_size == 0 or not share for share in shares)
    lengths = [-(-len(share) // batch_size) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def subject_and_instruments() -> tuple[Subject, Instruments]:
    """Images of three classes and all that looks at them."""
    labels = torch.arange(70) % 3
    reals = Reals(pictures(70), labels, ("a", "b", "c"))
    subject = Subject(reals, Fakes(pictures(64, 1), labels[:64]), Linear())
    detector = PixelClasses()
    return subject, Instruments(detector, Pixels(name="others"), Pixels(), SquaredError())


def scores(world: World) -> Measurement:
    """All metrics, in batches that do not divide the counts."""
    subject, instruments = subject_and_instruments()
    return measure(parse_metrics(NAMES), subject, instruments, world, 8, per_class=True)


def write_scores(world: World, folder: Path) -> int:
    """Rank 0 writes its records; every rank says how much its detector has seen."""
    os.environ["DUDGAN_CACHE_DIR"] = str(folder / "cache")
    done = scores(world)
    assert not done.failures, done.failures
    assert bool(done.records) == (world.rank == 0)
    for record in done.records:
        append_record(folder, record)
    return 0


def fail_on_one(world: World, folder: Path) -> int:
    """A detector that fails in one process, and then metrics that do not need it."""
    os.environ["DUDGAN_CACHE_DIR"] = str(folder / "cache")
    subject, plain = subject_and_instruments()
    broken = Failing(name="failing") if world.rank == 1 else Pixels(name="failing")
    names = ["fid60_full", "pr553", "kid50"]
    done = measure(parse_metrics(names), subject, Instruments(plain.features, broken), world, 8)
    ((metric, error),) = done.failures
    assert metric == "pr553" and isinstance(error, OSError if world.rank else RunError)
    assert str(error).endswith(
        "" if world.rank else "process 1 of 2 failed (OSError: out of memory)"
    )
    assert [record.metric for record in done.records] == ["fid60_full", "kid50"] * (not world.rank)
    return 0


class Failing(Pixels):
    """Cannot look at images."""

    def __call__(self, images: Tensor) -> Tensor:
        raise OSError("out of memory")


def plain(record: Any) -> Any:
    """A record without its time."""
    return record.model_dump(exclude={"seconds"})


@pytest.fixture
def quiet() -> Any:
    """No warnings about few images."""
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


def test_three_processes_give_the_scores_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: None
) -> None:
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "alone"))
    alone = scores(ALONE)
    assert not alone.failures
    assert run_processes(write_scores, 3, "cpu", (tmp_path,)) == 0
    for record in alone.records:
        (line,) = (tmp_path / f"metric-{record.metric}.jsonl").read_text().splitlines()
        other = type(record).from_json(line, tmp_path)
        assert other.results == pytest.approx(record.results, rel=1e-6)
        ours, theirs = plain(record), plain(other)
        for values in (ours, theirs):
            del values["results"]
            for of_class in values["classes"]:
                del of_class["results"]
        assert ours == theirs
    # Of both detectors; the judge's are not kept.
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 2


def test_a_process_whose_part_fails_fails_the_metric_everywhere(tmp_path: Path) -> None:
    assert run_processes(fail_on_one, 2, "cpu", (tmp_path,)) == 0


def test_rows_are_gathered_in_order_from_uneven_shares() -> None:
    def rows(share: range) -> Tensor:
        return torch.tensor(list(share)).float()[:, None]

    assert shared_rows(rows, 5, 2, ALONE)[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert not dist.is_initialized()
