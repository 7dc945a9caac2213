"""The built-in search strategies."""

from hnas import Plugin, hookimpl


@hookimpl
def hnas_search_strategies() -> list[Plugin]:
    return [
        Plugin(
            name="genetic",
            summary="genetic adaption, Algorithm 1 of the paper",
            factory="hnas_strategies.genetic:Genetic",
            options="hnas_strategies.genetic:GeneticOptions",
        ),
        Plugin(
            name="random",
            summary="random search over feasible architectures, the baseline",
            factory="hnas_strategies.random_search:RandomSearch",
            options="hnas_strategies.random_search:RandomSearchOptions",
        ),
    ]
