"""The interval of the chosen network's place: sure where tasks agree, wide where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hnas_app.search.place import Place, place_of_first

FINALISTS, TASKS = 6, 100


def drawn(gap: float, seed: int = 0) -> list[list[float]]:
    """Losses with noise of 1 that tasks have in common, and 0.3 that each network has for itself."""
    generator = np.random.default_rng(seed)
    common = generator.normal(size=TASKS)
    own = 0.3 * generator.normal(size=(FINALISTS, TASKS))
    return (5 + gap * np.arange(FINALISTS)[:, None] + common + own).tolist()


def test_a_clear_winner_is_first() -> None:
    """A gap of 0.2 is 5 standard errors of the paired difference, but 1.4 of the losses themselves: it is paired."""
    assert place_of_first(drawn(0.2), np.random.default_rng(0)) == Place(low=1, high=1, of=FINALISTS, tasks=TASKS)


def test_equals_may_have_any_place() -> None:
    found = place_of_first(drawn(0.0), np.random.default_rng(0))
    assert found.high - found.low >= 3


def test_the_interval_covers_the_place_that_more_tasks_give() -> None:
    """The first is truly the second best of six. In 60 repetitions 95 % should cover it; 80 % at least do."""
    covered = 0
    for seed in range(60):
        losses = drawn(0.04, seed)
        losses[0], losses[1] = losses[1], losses[0]
        found = place_of_first(losses, np.random.default_rng(seed))
        covered += found.low <= 2 <= found.high
    assert covered >= 48


def test_one_task_has_no_interval() -> None:
    """It said "place 1 of 3": resampling one task always gives that task."""
    assert place_of_first([[1.0], [2.0], [3.0]], np.random.default_rng(0)) is None


def test_an_infinite_loss_is_last() -> None:
    losses = [[1.0, 1.0], [math.inf, 0.0], [2.0, 2.0]]
    assert place_of_first(losses, np.random.default_rng(0)) == Place(low=1, high=1, of=3, tasks=2)
    losses[0][1] = math.inf
    assert place_of_first(losses, np.random.default_rng(0)) == Place(low=1, high=3, of=3, tasks=2)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place(low=1, high=4, of=10, tasks=100), "place 1 to 4 of 10 (95 % interval over 100 tasks)"),
        (Place(low=1, high=1, of=10, tasks=100), "place 1 of 10 (95 % interval over 100 tasks)"),
    ],
)
def test_it_reads_as_a_sentence(place: Place, text: str) -> None:
    assert str(place) == text
