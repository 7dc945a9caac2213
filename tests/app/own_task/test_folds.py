"""Folds of one task: every image is held out as often as any other, and never adapted to at the same time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from hnas.episode import Episodes
from hnas.toolkit.pictures import PictureTask
from hnas_app.own_task.folds import episodes, folds, n_folds


def task(*shots: int) -> PictureTask:
    """One task whose images are their own numbers."""
    x = np.arange(sum(shots), dtype=np.float32).reshape(-1, 1, 1, 1)
    parts = tuple(np.split(x, np.cumsum(shots)[:-1]))
    return PictureTask(classes=tuple(map(str, shots)), support=parts, query=tuple(p[:0] for p in parts), digest="")


def made_of(task: PictureTask, repeats: int = 1) -> Episodes:
    return episodes(task, folds(task.shots, repeats))


@pytest.mark.parametrize(("n_way", "k_shot"), [(5, 5), (2, 2), (3, 10), (2, 15)])
def test_each_image_is_held_out_once_and_the_rest_is_adapted_to(n_way: int, k_shot: int) -> None:
    made = made_of(task(*[k_shot] * n_way))
    assert len(made) == n_folds(k_shot)
    assert sorted(made.query_x.flatten().tolist()) == list(range(n_way * k_shot))
    for t in range(len(made)):
        support, query = made.support_x[t].flatten().tolist(), made.query_x[t].flatten().tolist()
        assert sorted(support + query) == list(range(n_way * k_shot))


def test_labels_go_with_their_images_and_classes_stay_balanced() -> None:
    made = made_of(task(4, 4, 4), repeats=2)
    for x, y in ((made.support_x, made.support_y), (made.query_x, made.query_y)):
        assert torch.equal(x.flatten(1) // 4, y.float())
        assert all(len(set(Counter(row.tolist()).values())) == 1 for row in y)
    assert (made.support_y[0].tolist(), made.query_y[0].tolist()) == ([0] * 3 + [1] * 3 + [2] * 3, [0, 1, 2])


def test_a_repetition_holds_other_images_out_together() -> None:
    """The same folds again would cost as much and say nothing new."""
    made = made_of(task(5, 5, 5), repeats=3)
    together = [tuple(row.flatten().tolist()) for row in made.query_x]
    assert len(set(together)) == len(together) == 15
    assert set(Counter(made.query_x.flatten().tolist()).values()) == {3}


def test_of_many_images_a_fifth_is_held_out_and_what_is_left_over_is_always_adapted_to() -> None:
    made = made_of(task(12, 12))
    assert (len(made), made.query_x.shape[1], made.support_x.shape[1]) == (5, 4, 20)
    held_out = set(made.query_x.flatten().tolist())
    assert len(held_out) == 20
    assert {10.0, 11.0, 22.0, 23.0}.isdisjoint(held_out)


def test_one_image_cannot_be_held_out() -> None:
    with pytest.raises(ValueError, match="nothing would be left"):
        folds((1, 1, 1))


@pytest.mark.parametrize("shots", [(2, 5), (1, 3, 3), (1, 20, 7), (3, 12), (1, 2)])
def test_classes_of_unequal_numbers_keep_apart_what_is_held_out_and_weigh_the_same(shots: tuple[int, ...]) -> None:
    """A picture that is repeated to fill its class up must not be among those that test it."""
    whole = task(*shots)
    made = folds(whole.shots, 2)
    tasks = episodes(whole, made)
    assert len(tasks) == 2 * n_folds(max(shots))
    for t, fold in enumerate(made):
        support, query = tasks.support_x[t].flatten().tolist(), tasks.query_x[t].flatten().tolist()
        assert set(support).isdisjoint(query)
        assert len(set(Counter(tasks.support_y[t].tolist()).values())) == 1
        assert [bool(own) for own in fold.query] == [k > 1 for k in shots]
    tested = {picture for row in tasks.query_x for picture in row.flatten().tolist()}
    first = 0
    for k in shots:
        own = set(map(float, range(first, first + k)))
        assert len(own & tested) >= (k - k % 5 if max(shots) > 10 and k > 5 else k if k > 1 else 0)
        first += k


def test_a_task_of_unequal_numbers_repeats_the_pictures_of_small_classes() -> None:
    whole = task(2, 5).episodes()
    assert whole.support_x.flatten().tolist() == [0, 1, 0, 1, 0, 2, 3, 4, 5, 6]
    assert whole.support_y.tolist() == [[0] * 5 + [1] * 5]
