"""The surrogate: it ranks what it never saw, whatever tasks a batch was scored on, and the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from driving import additive

from hnas import Architecture, Cost, Scored
from hnas_strategies.surrogate import fit


def batches_of(space: Any, count: int, seed: int = 0) -> list[list[Scored]]:
    loss, generator = additive(space), np.random.default_rng(seed)
    return [
        [
            Scored(arch=a, loss=loss(i, a), accuracy=0.5, cost=Cost(values={}))
            for a in (space.sample(generator) for _ in range(20))
        ]
        for i in range(count)
    ]


def predicted(space: Any, batches: Sequence[Sequence[Scored]], archs: Sequence[Architecture]) -> list[float]:
    predict = fit(space, batches, np.random.default_rng(1))
    assert predict is not None
    return predict(archs)


def ranks(values: Sequence[float]) -> np.ndarray:
    return np.argsort(np.argsort(values))


def test_it_ranks_architectures_that_it_never_saw(tiny_space: Any) -> None:
    """120 scores of 6,174 networks; the tasks of a batch move its losses by more than most choices do."""
    archs, loss = tiny_space.everything()[::13], additive(tiny_space)
    found = predicted(tiny_space, batches_of(tiny_space, 6), archs)
    assert np.corrcoef(ranks(found), ranks([loss(0, a) for a in archs]))[0, 1] > 0.97


def test_the_tasks_of_a_batch_are_not_taken_for_its_architectures(make_tiny_space: Any) -> None:
    """A batch of good networks on hard tasks, and one of bad ones on easy tasks; two networks are in both."""
    space = make_tiny_space(depth=1)
    archs = space.everything()
    quality = dict(zip(archs, range(len(archs)), strict=True))

    def batch(some: Sequence[Architecture], hardness: float) -> list[Scored]:
        return [Scored(arch=a, loss=quality[a] / 18 + hardness, accuracy=0.5, cost=Cost(values={})) for a in some]

    found = predicted(space, [batch(archs[:10], 5.0), batch(archs[8:], 0.0)], archs)
    assert np.corrcoef(ranks(found), range(len(archs)))[0, 1] > 0.9


def test_predictions_depend_on_scores_and_generator_alone(tiny_space: Any) -> None:
    """To the last bit: of a resumed search, the main process may have another number of threads."""
    batches, archs = batches_of(tiny_space, 2), tiny_space.everything()[::99]
    global_state, threads = torch.get_rng_state(), torch.get_num_threads()
    found = []
    for n in (1, 3):
        torch.set_num_threads(n)
        found.append(predicted(tiny_space, batches, archs))
    torch.set_num_threads(threads)
    assert found[0] == found[1]
    assert torch.equal(torch.get_rng_state(), global_state)
    other = fit(tiny_space, batches, np.random.default_rng(2))
    assert other is not None
    assert other(archs) != found[0]
    assert other([]) == []


def test_options_that_no_network_had_are_predicted_alike(tiny_space: Any) -> None:
    one = {"depth": 1, "kernel1": 1, "act1": "relu"}
    batch = [
        Scored(arch=tiny_space.architecture(**one, width1=w), loss=w, accuracy=0.5, cost=Cost(values={}))
        for w in (2, 8)
    ]
    archs = [tiny_space.architecture(**{**one, "width1": 2, "kernel1": k}) for k in (1, 3, 5)]
    found = predicted(tiny_space, [batch], [*archs, batch[1].arch])
    assert found[0] == found[1] == found[2] < found[3]


def test_infinite_losses_are_the_worst_and_bounds_no_losses(tiny_space: Any, quick_fits: None) -> None:
    batches = batches_of(tiny_space, 2)
    archs = tiny_space.everything()[::99]
    worst = max(s.loss for s in batches[1])
    diverged = [evolve(batches[1][0], loss=math.inf), *batches[1][1:]]
    capped = [evolve(batches[1][0], loss=max(s.loss for s in batches[1][1:])), *batches[1][1:]]
    assert predicted(tiny_space, [batches[0], diverged], archs) == predicted(tiny_space, [batches[0], capped], archs)
    bounded = [*batches[1], *(evolve(s, loss=worst - 9, bound=True) for s in batches[0])]
    assert predicted(tiny_space, [batches[0], bounded], archs) == predicted(tiny_space, batches, archs)


@pytest.mark.parametrize("loss", [math.inf, 0.7])
def test_without_two_different_losses_there_is_nothing_to_learn(loss: float, tiny_space: Any) -> None:
    batches = [[evolve(s, loss=loss) for s in batch] for batch in batches_of(tiny_space, 2)]
    assert fit(tiny_space, batches, np.random.default_rng(0)) is None
    assert fit(tiny_space, [], np.random.default_rng(0)) is None
