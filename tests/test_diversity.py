"""Images of a class that become alike are noticed."""

from __future__ import annotations

import pytest
import torch

from dnnlib.logs import setup_logging
from training.diversity import diversity, pairwise_distances, warn_of_collapse


def test_distance_is_the_root_mean_square_of_each_class() -> None:
    black, white = torch.zeros(3, 4, 4).byte(), torch.full((3, 4, 4), 255).byte()
    images = torch.stack([black, white, black, black])
    torch.testing.assert_close(pairwise_distances(images, 2), torch.tensor([1.0, 0.0]))
    three = torch.stack([black, black, white])
    torch.testing.assert_close(pairwise_distances(three, 3), torch.tensor([2 / 3]))


def test_diversity_is_one_for_real_images_and_nothing_where_they_are_equal() -> None:
    reals = torch.tensor([0.5, 0.2, 0.0])
    ratios = diversity(torch.tensor([0.5, 0.1, 0.3]), reals)
    torch.testing.assert_close(ratios[:2], torch.tensor([1.0, 0.5]))
    assert ratios[2].isnan()


def test_the_class_that_is_most_alike_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    warn_of_collapse(torch.tensor([0.9, 0.3, 0.2, torch.nan]), ("cat", "dog", "owl", "fly"))
    said = capsys.readouterr().err
    assert "2 of 4 classes" in said
    assert "'owl' most: they differ 0.20 times" in said


def test_varied_classes_give_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    warn_of_collapse(torch.tensor([0.9, 0.5]), ("cat", "dog"))
    warn_of_collapse(torch.tensor([0.9, 0.5]), ())
    assert capsys.readouterr().err == ""
