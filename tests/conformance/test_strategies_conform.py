"""Every built-in search strategy, held to what third parties are held to."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from hnas.strategy import SearchStrategy
from hnas.testing import StrategyConformance
from hnas_strategies import surrogate
from hnas_strategies.genetic import Genetic, GeneticOptions
from hnas_strategies.gradient import Gradient, GradientOptions
from hnas_strategies.nsga2 import NSGA2, NSGA2Options
from hnas_strategies.predictor import Predictor, PredictorOptions
from hnas_strategies.progressive import Progressive, ProgressiveOptions
from hnas_strategies.random_search import RandomSearch, RandomSearchOptions


@pytest.fixture(autouse=True)
def short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held here does not depend on how well a surrogate predicts."""
    monkeypatch.setattr(surrogate, "STEPS", 5)
    monkeypatch.setattr(surrogate, "EPOCHS", 0)


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


class TestPredictor(StrategyConformance):
    options = PredictorOptions

    def make(self) -> SearchStrategy:
        return Predictor(PredictorOptions(population=10, iterations=4, pool=10, generations=3))


class TestProgressive(StrategyConformance):
    options = ProgressiveOptions

    def make(self) -> SearchStrategy:
        return Progressive(ProgressiveOptions(population=10, iterations=4))
