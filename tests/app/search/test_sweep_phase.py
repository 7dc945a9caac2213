"""Phase 3 for several pairs: one alone finds what it always did, together they cost less, a stop loses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import Counting
from tiny_tasks import tiny_setup

from hnas import Architecture, Cost, Scored, SearchProblem
from hnas.cost import Metric
from hnas_app.config.schema import SearchConfig
from hnas_app.costs.limits import Limit
from hnas_app.search.adapt import Adaption, adapt
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.loop import Search
from hnas_app.search.score_store import ScoreStore
from hnas_app.search.trace import SearchTrace
from hnas_app.trackers.json_lines import JsonLines
from hnas_strategies.genetic import Genetic, GeneticOptions

CONFIG = SearchConfig(tasks=10, pool=14, n_query=2, finalists=3, final_tasks=12)
OPTIONS = GeneticOptions(population=12, iterations=3, elite=0.2)
PAIRS = [("macs", 0.3), ("macs", 0.6), ("params", 0.3), ("params", 0.6), ("both", 0.4), ("both", 0.7)]
"""A cost, and the share of random networks that keeps the limit."""


def make_store(log: Path | None = None, stop_at: int | None = None) -> tuple[ScoreStore, Counting]:
    executor = Counting(stop_at)
    log_file = JsonLines(log) if log else None
    return ScoreStore(setup=tiny_setup(), executor=executor, config=CONFIG, log=log_file), executor


def start_state(store: ScoreStore) -> Any:
    return store.setup.learner.init(store.setup.supernet, store.setup.seeds.torch("init"))


def problem(store: ScoreStore, pair: tuple[str, float], number: int) -> SearchProblem:
    setup, (kind, share) = store.setup, pair

    def cost(arch: Architecture) -> Cost:
        layers = setup.space.layers(arch, (1, 8, 8), 3)
        macs, params = (float(sum(getattr(layer, key) for layer in layers)) for key in ("macs", "params"))
        return Cost(values={"latency": {"macs": macs, "params": params, "both": macs + 20 * params}[kind]})

    generator = np.random.default_rng(0)
    costs = [cost(setup.space.sample(generator))["latency"] for _ in range(200)]
    limit = Limit(metric=Metric(name="latency"), value=float(np.quantile(costs, share)), text="latency<=…")
    feasibility = Feasibility(setup.space, [limit], cost)
    return SearchProblem(
        space=setup.space,
        feasible=feasibility.feasible,
        cost=cost,
        sample_feasible=feasibility.sample,
        generator=setup.seeds.numpy("search", number),
    )


def run(
    store: ScoreStore, folder: Path | None = None, pairs: Sequence[tuple[str, float]] = PAIRS
) -> dict[str, Adaption]:
    searches = [
        Search(
            name=f"{kind} {share}",
            strategy=Genetic(OPTIONS),
            problem=problem(store, (kind, share), i),
            trace=SearchTrace(folder / f"{i}.jsonl") if folder is not None else None,
        )
        for i, (kind, share) in enumerate(pairs)
    ]
    return adapt(searches, store, start_state(store))


def test_a_pair_alone_finds_what_asking_and_telling_in_turn_finds() -> None:
    """Bit for bit, and for the same number of adaptions."""
    store, together = make_store()
    (found,) = run(store, pairs=PAIRS[:1]).values()
    single, alone = make_store()
    asked, strategy = problem(single, PAIRS[0], 0), Genetic(OPTIONS)
    evaluator, told = Evaluator(scores=single, cost=asked.cost), list[list[Scored]]()
    single.start(start_state(single))
    strategy.start(asked)
    while (ask := strategy.ask()) is not None:
        told.append(evaluator(len(told), ask))
        strategy.tell(told[-1])
    finalists, place = single.run(evaluator.finals(told[-1], lambda arch: True))
    assert found == Adaption(population=tuple(told[-1]), finalists=tuple(finalists), place=place)
    assert together.ran == alone.ran


def test_together_they_cost_less_and_keep_their_own_limits() -> None:
    store, executor = make_store()
    found = run(store)
    separate = 0
    for i, pair in enumerate(PAIRS):
        name, asked = f"{pair[0]} {pair[1]}", problem(store, pair, i)
        scored = (*found[name].population, *found[name].finalists)
        assert all(asked.feasible(s.arch) for s in scored)
        assert all(s.cost == asked.cost(s.arch) for s in scored)
        assert not any(s.bound for s in scored)
        single, counting = make_store()
        adapt([Search(strategy=Genetic(OPTIONS), problem=asked)], single, start_state(single))
        separate += len(counting.ran)
    assert len(executor.ran) == len(set(executor.ran)) == sum(store.spent.values())
    assert len(executor.ran) < 0.75 * separate
    assert set(store.spent) <= set(found)


@pytest.mark.parametrize("stop_at", [5, 60, 130])
def test_a_sweep_stopped_anywhere_ends_as_if_it_had_not_been(tmp_path: Path, stop_at: int) -> None:
    """In its first iteration, between two, or in the finals: same networks, same losses, same counts."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    whole, executor = make_store()
    expected = run(whole, tmp_path / "whole")
    store, before = make_store(tmp_path / "scores.jsonl", stop_at)
    with pytest.raises(KeyboardInterrupt):
        run(store, tmp_path / "stopped")
    store, after = make_store(tmp_path / "scores.jsonl")
    assert run(store, tmp_path / "stopped") == expected
    assert store.spent == whole.spent
    assert sorted(before.ran + after.ran) == sorted(executor.ran)
    for i in range(len(PAIRS)):
        one, other = (tmp_path / part / f"{i}.jsonl" for part in ("whole", "stopped"))
        assert one.read_bytes() == other.read_bytes()
