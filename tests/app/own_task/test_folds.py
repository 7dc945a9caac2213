"""Folds of one task: every image is held out as often as any other, and never adapted to at the same time."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from hnas.episode import Episodes
from hnas_app.own_task.folds import folds, n_folds


def task(n_way: int, k_shot: int) -> Episodes:
    """One task whose images are their own numbers."""
    x = torch.arange(n_way * k_shot, dtype=torch.float32).view(1, -1, 1, 1, 1)
    y = torch.arange(n_way).repeat_interleave(k_shot)[None]
    return Episodes(support_x=x, support_y=y, query_x=x[:, :0], query_y=y[:, :0])


@pytest.mark.parametrize(("n_way", "k_shot"), [(5, 5), (2, 2), (3, 10), (2, 15)])
def test_each_image_is_held_out_once_and_the_rest_is_adapted_to(n_way: int, k_shot: int) -> None:
    made = folds(task(n_way, k_shot), n_way)
    assert len(made) == n_folds(k_shot)
    assert sorted(made.query_x.flatten().tolist()) == list(range(n_way * k_shot))
    for t in range(len(made)):
        support, query = made.support_x[t].flatten().tolist(), made.query_x[t].flatten().tolist()
        assert sorted(support + query) == list(range(n_way * k_shot))


def test_labels_go_with_their_images_and_classes_stay_balanced() -> None:
    made = folds(task(3, 4), 3, repeats=2)
    for x, y in ((made.support_x, made.support_y), (made.query_x, made.query_y)):
        assert torch.equal(x.flatten(1) // 4, y.float())
        assert all(len(set(Counter(row.tolist()).values())) == 1 for row in y)
    assert (made.support_y[0].tolist(), made.query_y[0].tolist()) == ([0] * 3 + [1] * 3 + [2] * 3, [0, 1, 2])


def test_a_repetition_holds_other_images_out_together() -> None:
    """The same folds again would cost as much and say nothing new."""
    made = folds(task(3, 5), 3, repeats=3)
    together = [tuple(row.flatten().tolist()) for row in made.query_x]
    assert len(set(together)) == len(together) == 15
    assert set(Counter(made.query_x.flatten().tolist()).values()) == {3}


def test_of_many_images_a_fifth_is_held_out_and_what_is_left_over_is_always_adapted_to() -> None:
    made = folds(task(2, 12), 2)
    assert (len(made), made.query_x.shape[1], made.support_x.shape[1]) == (5, 4, 20)
    held_out = set(made.query_x.flatten().tolist())
    assert len(held_out) == 20
    assert {10.0, 11.0, 22.0, 23.0}.isdisjoint(held_out)


def test_one_image_cannot_be_held_out() -> None:
    with pytest.raises(ValueError, match="nothing would be left"):
        folds(task(3, 1), 3)
