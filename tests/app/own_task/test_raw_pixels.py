"""What raw pixels can do, beside the network: known answers, and a verdict by the pictures that only one has right."""

from __future__ import annotations

import numpy as np
import pytest

from hnas.toolkit.pictures import PictureTask
from hnas_app.own_task.raw_pixels import RIVALS, class_mean, logistic_regression, nearest_neighbour
from hnas_app.own_task.result import Answers
from hnas_app.report.pictures import NETWORK, Rival


def task(support: list[list[list[float]]], query: list[list[list[float]]]) -> PictureTask:
    """A task of images of two pixels."""
    parts = [tuple(np.array(own, np.float32).reshape(-1, 1, 1, 2) for own in part) for part in (support, query)]
    return PictureTask(classes=tuple("abc"[: len(support)]), support=parts[0], query=parts[1], digest="")


def test_each_classifier_gives_its_own_answer() -> None:
    """The mean of the first class is far from the outlier, which is its nearest neighbour."""
    made = task([[[0, 0], [0, 0.2], [1, 0.9]], [[0.7, 0.7]]], [[[0.9, 0.9], [0, 0]], [[0.7, 0.6]]])
    assert class_mean(made).tolist() == [1, 0, 1]
    assert nearest_neighbour(made).tolist() == [0, 0, 1]


def test_logistic_regression_is_the_known_optimum() -> None:
    """One pixel tells two classes of 1 and 3 pictures: by symmetry the weights are ±w, with a bias for the larger."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 6)).astype(np.float32) / 3
    y = (x @ generator.normal(size=(6, 3))).argmax(1)
    parts = tuple(x[y == c].reshape(-1, 1, 2, 3) for c in range(3))
    query = generator.normal(size=(200, 6)).astype(np.float32) / 3
    made = PictureTask(classes=("a", "b", "c"), support=parts, query=(query.reshape(-1, 1, 2, 3),) * 1, digest="")
    seen, labels = np.concatenate([p.reshape(-1, 6) for p in parts]), np.repeat(range(3), [len(p) for p in parts])
    weights, bias = np.zeros((3, 6)), np.zeros(3)
    for _ in range(20000):  # plain gradient descent on the same objective
        logits = seen @ weights.T + bias
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares = shares / shares.sum(1, keepdims=True) - np.eye(3)[labels]
        weights, bias = weights - 0.02 * (shares.T @ seen + weights), bias - 0.02 * shares.sum(0)
    expected = (query @ weights.T + bias).argmax(1)
    assert (logistic_regression(made) == expected).mean() > 0.99


@pytest.mark.parametrize(
    ("network_only", "rival_only", "p", "verdict"),
    [(0, 0, 1.0, "ties"), (5, 0, 0.0625, "ties"), (6, 0, 0.03125, "worse"), (1, 9, 0.0215, "better")],
)
def test_a_difference_is_told_if_chance_hardly_makes_it(
    network_only: int, rival_only: int, p: float, verdict: str
) -> None:
    found = Rival(name="x", held_out=None, query=None, network_only=network_only, rival_only=rival_only)
    assert found.p == pytest.approx(p, abs=1e-4)
    assert found.verdict == verdict


def test_pictures_are_compared_one_by_one_and_confusions_are_counted() -> None:
    truth = np.array([0, 0, 1, 1, 2])
    tested = Answers(truth, {NETWORK: np.array([0, 1, 1, 1, 0]), "x": np.array([1, 0, 1, 1, 0])})
    rival = tested.rival("x", tested, None)
    assert (rival.network_only, rival.rival_only, str(rival.held_out)) == (1, 1, "3 of 5 right (60.0 %)")
    assert tested.confusion(3) == ((1, 1, 0), (0, 2, 0), (1, 0, 0))


def test_all_are_asked() -> None:
    assert [*RIVALS] == ["nearest class mean", "nearest neighbour", "logistic regression"]
