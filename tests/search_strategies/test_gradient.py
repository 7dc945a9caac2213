"""The strategy `gradient`: it takes what the learner proposes."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from hnas import ConfigError, SearchProblem
from hnas.testing import TinySpace
from hnas_strategies.gradient import Gradient, GradientOptions


@pytest.fixture
def problem() -> SearchProblem:
    """Of eight tasks three have one architecture in common, and two another."""
    space = TinySpace()
    made = [space.sample(np.random.default_rng(seed)) for seed in range(5)]
    streamed = [made[i] for i in (0, 1, 2, 2, 3, 1, 2, 4)]
    return SearchProblem(
        space=space,
        feasible=lambda arch: True,
        cost=space.cost,
        sample_feasible=space.sample,
        generator=np.random.default_rng(0),
        known=(made[4],),
        proposals=lambda count: streamed[:count],
    )


def test_what_most_tasks_have_in_common_comes_first(problem):
    assert problem.proposals is not None
    a, b, c, _, d = problem.proposals(5)
    strategy = Gradient(GradientOptions(tasks=7, candidates=3))
    strategy.start(problem)
    ask = strategy.ask()
    assert ask is not None
    assert ask.architectures == (*problem.known, c, b, a)
    assert ask.keep is None
    assert strategy.ask() is None
    strategy.start(attrs.evolve(problem, known=()))
    assert strategy.ask() == attrs.evolve(ask, architectures=(c, b, a))
    few = Gradient(GradientOptions(tasks=1))
    few.start(attrs.evolve(problem, known=(a,)))
    assert few.ask() == attrs.evolve(ask, architectures=(a,))
    assert d not in ask.architectures


def test_a_learner_that_proposes_nothing_is_refused(problem):
    with pytest.raises(ConfigError, match="'gradient' takes what the learner proposes, and this one proposes nothing"):
        Gradient(GradientOptions()).start(attrs.evolve(problem, proposals=None))
