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
            name="gradient",
            summary="what a learner proposes by its architecture weights (t-nas), moved if it breaks a limit",
            factory="hnas_strategies.gradient:Gradient",
            options="hnas_strategies.gradient:GradientOptions",
        ),
        Plugin(
            name="nsga2",
            summary="NSGA-II by pymoo: the whole front of loss against one cost in a single search",
            factory="hnas_strategies.nsga2:NSGA2",
            options="hnas_strategies.nsga2:NSGA2Options",
            requires=("pymoo",),
        ),
        Plugin(
            name="predictor",
            summary="Once-for-All's search: evolution on a predictor of the super-net's scores",
            factory="hnas_strategies.predictor:Predictor",
            options="hnas_strategies.predictor:PredictorOptions",
        ),
        Plugin(
            name="progressive",
            summary="PNAS's search: architectures grow choice by choice, and a surrogate ranks what is scored next",
            factory="hnas_strategies.progressive:Progressive",
            options="hnas_strategies.progressive:ProgressiveOptions",
        ),
        Plugin(
            name="random",
            summary="random search over feasible architectures, the baseline",
            factory="hnas_strategies.random_search:RandomSearch",
            options="hnas_strategies.random_search:RandomSearchOptions",
        ),
    ]
