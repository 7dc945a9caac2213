"""The example strategy conforms, and climbs: what it asks for last is better than where it began."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import hnas
from hnas.testing import StrategyConformance, TinySpace
from hnas_app.search.loop import Search, search

REFERENCE = f"{Path(__file__).resolve().parents[2] / 'examples' / 'custom_strategy.py'}:MyStrategy"
REGISTRY = hnas.Registry()


def my_strategy(**options: int) -> hnas.SearchStrategy:
    made = REGISTRY.options_class("strategy", REFERENCE)(**options)
    strategy: hnas.SearchStrategy = REGISTRY.create("strategy", REFERENCE, made)
    return strategy


class TestMyStrategy(StrategyConformance):
    def make(self) -> hnas.SearchStrategy:
        return my_strategy(iterations=5, neighbours=8)


def test_it_climbs_to_the_top_of_a_single_hill():
    """The loss is how many genes differ from the largest network's: one step a batch is enough to get there."""
    space = TinySpace()
    top = space.largest()

    def evaluate(iteration: int, ask: hnas.Ask) -> list[hnas.Scored]:
        def loss(arch: hnas.Architecture) -> float:
            return float(sum(a != b for a, b in zip(arch.genes, top.genes, strict=True)))

        return [hnas.Scored(arch=a, loss=loss(a), accuracy=0.0, cost=space.cost(a)) for a in ask.architectures]

    problem = hnas.SearchProblem(
        space=space,
        feasible=lambda arch: True,
        cost=space.cost,
        sample_feasible=space.sample,
        generator=np.random.default_rng(0),
    )
    strategy = my_strategy(iterations=len(top.genes) + 1, neighbours=30)
    one = Search(strategy=strategy, problem=problem)
    (last,) = search([one], lambda i, asks, _: {name: evaluate(i, ask) for name, ask in asks.items()}).values()
    assert min(last, key=lambda s: s.loss).arch == top
