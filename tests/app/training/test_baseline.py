"""The baseline: a wrong one would make every result beside it look better or worse than it is."""

from __future__ import annotations

import torch

from hnas import Episodes
from hnas_app.training.evaluate import nearest_class_mean


def episodes(support: list[list[float]], query: list[list[float]], n_way: int) -> Episodes:
    """Make tasks of one-pixel images, class after class."""

    def labels(rows: list[list[float]]) -> torch.Tensor:
        return torch.arange(n_way).repeat_interleave(len(rows[0]) // n_way).repeat(len(rows), 1)

    return Episodes(
        support_x=torch.tensor(support)[..., None, None, None],
        support_y=labels(support),
        query_x=torch.tensor(query)[..., None, None, None],
        query_y=labels(query),
    )


def test_accuracy_is_counted_for_each_task():
    accuracy = nearest_class_mean(episodes([[0.0, 1.0], [0.0, 1.0]], [[0.1, 0.9], [0.1, 0.2]], n_way=2))
    assert accuracy.tolist() == [1.0, 0.5]


def test_distance_is_to_the_mean_of_the_shots_not_to_the_nearest_shot():
    # class means 5 and 8; a query at 0.2 of class 1 is nearest to class 0, though 9 is a single shot of class 0
    task = episodes([[0.0, 10.0, 8.0, 8.0]], [[0.2, 9.0]], n_way=2)
    assert nearest_class_mean(task).tolist() == [1.0]
