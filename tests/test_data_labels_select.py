"""Choosing images by class and number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from data_helpers import UNHURRIED, pixels
from hypothesis import given
from hypothesis import strategies as st

from dnnlib import UserError
from training.data.images import Pixels
from training.data.select import select


@dataclass(frozen=True)
class Fake:
    """A source of nothing but labels."""

    labels: np.ndarray
    class_names: tuple[str, ...] = ("a", "b", "c", "d")

    @property
    def names(self) -> list[str]:
        return [str(index) for index in range(len(self.labels))]

    def where(self, index: int) -> str:
        return self.names[index]

    def fetch(self, index: int) -> bytes:
        raise AssertionError("nothing is read before it is chosen")

    def decode(self, index: int) -> Pixels:
        return pixels(index)


LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(np.array)
SOME_CLASSES = st.none() | st.lists(st.sampled_from("abcd"), unique=True, min_size=1).map(tuple)
LIMIT = st.none() | st.integers(1, 20)


@UNHURRIED
@given(LABELS, SOME_CLASSES, LIMIT, LIMIT)
def test_selection(
    labels: np.ndarray, classes: tuple[str, ...] | None, per_class: int | None, most: int | None
) -> None:
    chosen = select(Fake(labels), classes, per_class, most)
    names = classes or ("a", "b", "c", "d")
    assert chosen.class_names == names and chosen.labels is not None
    assert sorted(set(chosen.indices.tolist())) == chosen.indices.tolist()
    # Labels are renumbered, and still those of the images.
    assert [names[i] for i in chosen.labels] == ["abcd"[labels[i]] for i in chosen.indices]
    available = [min((labels == "abcd".index(name)).sum(), per_class or 99) for name in names]
    assert len(chosen.indices) == min(sum(available), most or 99)
    if most is None:
        assert np.bincount(chosen.labels, minlength=len(names)).tolist() == available


def test_limits_spread_over_the_source() -> None:
    labels = np.repeat([0, 1], 50)
    assert select(Fake(labels), None, None, 4).indices.tolist() == [0, 25, 50, 75]
    assert select(Fake(labels), None, 2, None).indices.tolist() == [0, 25, 50, 75]
    assert select(Fake(labels), ("b",), 5, 2).indices.tolist() == [50, 70]


def test_classes_without_an_image_are_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.select.logger.propagate", True)
    select(Fake(np.array([0, 2, 2])), None, None, None)
    assert "2 of 4 classes have no image, the first is 'b'" in caplog.text
    caplog.clear()
    select(Fake(np.array([0, 2, 2])), ("c", "a"), None, None)
    assert not caplog.text


def test_selection_by_class_needs_classes() -> None:
    vectors = Fake(np.zeros((3, 2)), ())
    assert select(vectors, None, None, 2).indices.tolist() == [0, 1]
    with pytest.raises(UserError, match=r"--max-per-class: .*vectors as labels"):
        select(vectors, None, 1, None)
    with pytest.raises(UserError, match=r"no class 'z'; the source has a, b, c, d"):
        select(Fake(np.zeros(1, int)), ("a", "z"), None, None)
    with pytest.raises(UserError, match="'a' twice"):
        select(Fake(np.zeros(1, int)), ("a", "a"), None, None)
