"""Augmentation as a part of training: who sees it, how it adapts, where it is kept."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from training_helpers import CPU, batches, small_config, small_trainer

from training.augment import AdaptiveAugment, DiffAugment
from training.players import Players
from training.state import TrainingState


@pytest.mark.parametrize("kind", ["ada", "diff"])
def test_training_with_augmentation_moves_all_players(kind: str) -> None:
    trainer = small_trainer(small_config(aug=kind, pl_weight=2.0))
    before = [p.clone() for p in trainer.state.players.parameters()]
    trainer.step()
    after = list(trainer.state.players.parameters())
    assert all(p.isfinite().all() for p in after)
    moved = sum(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert moved > 0.9 * len(before)


def adaptive(players: Players) -> AdaptiveAugment:
    assert isinstance(players.augment, AdaptiveAugment)
    return players.augment


@pytest.mark.parametrize(("target", "direction"), [(-1.0, 1), (1.0, 0)])
def test_p_follows_d_on_real_images_every_fourth_step(target: float, direction: int) -> None:
    trainer = small_trainer(small_config(aug="ada", aug_kimg=0.1, target=target))
    seen = []
    for _ in range(8):
        trainer.step()
        seen.append(float(adaptive(trainer.state.players).p))
    step = 4 * 8 / 100  # images between two moves, of those it takes from 0 to 1
    assert seen == pytest.approx([0] * 3 + [direction * step] * 4 + [direction * 2 * step])


def test_p_stays_at_or_below_its_largest_and_is_in_the_checkpoint() -> None:
    given: dict[str, Any] = {"aug": "ada", "aug_kimg": 0.01, "target": -1.0, "ada_maxp": 0.3}
    trainer = small_trainer(small_config(**given))
    for _ in range(5):
        trainer.step()
    assert adaptive(trainer.state.players).p == pytest.approx(0.3)
    resumed = TrainingState(trainer.config, CPU)
    resumed.load_state_dict(copy.deepcopy(trainer.state.state_dict()))
    assert adaptive(resumed.players).p == pytest.approx(0.3)


def test_both_views_of_c_are_augmented_each_in_its_own_way_unless_told_otherwise() -> None:
    seen: list[torch.Tensor] = []
    for aug_c in (True, False):
        config = small_config(aug="diff", aug_c=aug_c, noise_model="none")
        players = Players(config)
        assert isinstance(players.augment, DiffAugment)
        assert players.C is not None
        images = next(batches(config)).images.float() / 127.5 - 1
        original = players.C.encode

        def spy(x: torch.Tensor, t: torch.Tensor | None, encode: Any = original) -> Any:
            seen.append(x)
            return encode(x, t)

        players.C.encode = spy  # type: ignore[method-assign]
        players.encode_two_views(images)
        first, second = seen[-1].chunk(2)
        assert torch.equal(first, images) is (not aug_c)
        assert torch.equal(first, second) is (not aug_c)


def test_d_sees_augmented_images_before_their_noise() -> None:
    config = small_config(aug="diff", noise_model="none", classifier=False)
    players = Players(config)
    batch = next(batches(config))
    images = batch.images.float() / 127.5 - 1
    assert players.augment is not None
    torch.manual_seed(1)
    expected = players.augment(images)
    torch.manual_seed(1)
    logits = players.criticise(images, batch.labels)
    plain = players.D(expected, torch.nn.functional.one_hot(batch.labels, 3).float(), None)
    torch.testing.assert_close(logits, plain)
