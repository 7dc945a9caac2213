"""Every built-in search strategy, held to what third parties are held to."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from hnas.strategy import SearchStrategy
from hnas.testing import StrategyConformance
from hnas_strategies.genetic import Genetic, GeneticOptions
from hnas_strategies.gradient import Gradient, GradientOptions
from hnas_strategies.nsga2 import NSGA2, NSGA2Options
from hnas_strategies.random_search import RandomSearch, RandomSearchOptions


class TestGenetic(StrategyConformance):
    options = GeneticOptions

    def make(self) -> SearchStrategy:
        return Genetic(GeneticOptions(population=10, iterations=5, elite=0.3))


class TestGradient(StrategyConformance):
    options = GradientOptions

    def make(self) -> SearchStrategy:
        return Gradient(GradientOptions())


class TestRandomSearch(StrategyConformance):
    options = RandomSearchOptions

    def make(self) -> SearchStrategy:
        return RandomSearch(RandomSearchOptions(population=10, iterations=5))


class TestNSGA2(StrategyConformance):
    options = NSGA2Options

    @pytest.fixture(autouse=True)
    def _installed(self, required_module: Callable[[str], ModuleType]) -> None:
        required_module("pymoo")

    def make(self) -> SearchStrategy:
        return NSGA2(NSGA2Options(population=10, iterations=5))
