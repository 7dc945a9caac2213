"""Architectures that are known to be good are in every built-in strategy's first batch, and in no other for nothing."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from driving import noise, problem_of, run

from hnas import SearchStrategy
from hnas_strategies.genetic import Genetic, GeneticOptions
from hnas_strategies.nsga2 import NSGA2, NSGA2Options
from hnas_strategies.predictor import Predictor, PredictorOptions
from hnas_strategies.random_search import RandomSearch, RandomSearchOptions

STRATEGIES = {
    "genetic": lambda: Genetic(GeneticOptions(population=10, iterations=3)),
    "nsga2": lambda: NSGA2(NSGA2Options(population=10, iterations=3, metric="params")),
    "predictor": lambda: Predictor(PredictorOptions(population=10, iterations=3, generations=2)),
    "random": lambda: RandomSearch(RandomSearchOptions(population=10, iterations=3)),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_they_are_asked_for_first(name: str, tiny_space: Any) -> None:
    known = (tiny_space.largest(), tiny_space.smallest())
    strategy: SearchStrategy = STRATEGIES[name]()
    asks, _ = run(strategy, evolve(problem_of(tiny_space), known=known), noise)
    assert set(known) <= set(asks[0].architectures)
    assert [len(set(ask.architectures)) for ask in asks] == [10] * 3


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_them_the_search_is_as_it_was(name: str, tiny_space: Any) -> None:
    """The draws of the first batch are those of the paper's."""
    asks, _ = run(STRATEGIES[name](), problem_of(tiny_space), noise)
    problem = problem_of(tiny_space)
    drawn = dict.fromkeys(problem.sample_feasible(problem.generator) for _ in range(200))
    assert list(asks[0].architectures) == list(drawn)[:10]
