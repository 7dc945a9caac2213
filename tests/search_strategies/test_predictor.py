"""Once-for-All's search: random scores, then the best of an evolution on the predictor; the optimum in few scores."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from driving import additive, noise, problem_of, run

from hnas import Registry
from hnas_app.search.trace import SearchTrace
from hnas_strategies import predictor
from hnas_strategies.predictor import Predictor, PredictorOptions
from hnas_strategies.random_search import RandomSearch, RandomSearchOptions

SMALL = PredictorOptions(population=20, iterations=6, generations=30)


def test_it_finds_the_optimum_in_far_fewer_scores_than_random_search(tiny_space: Any) -> None:
    """One of the 3,100 that a limit admits, with 120 scores, and with 600 at random (3 and 0 of 3 when written)."""
    loss = additive(tiny_space)
    everything = tiny_space.everything()
    limit = float(np.median([tiny_space.cost(a)["params"] for a in everything]))
    best = min((a for a in everything if tiny_space.cost(a)["params"] <= limit), key=lambda a: loss(0, a))
    found = {"predictor": 0, "random": 0}
    for seed in range(3):
        asks, told = run(Predictor(SMALL), problem_of(tiny_space, limit, seed), loss)
        assert sum(len(a.architectures) for a in asks) == 120
        found["predictor"] += min(told[-1], key=lambda s: s.loss).arch == best
        asks, _ = run(
            RandomSearch(RandomSearchOptions(population=20, iterations=30)), problem_of(tiny_space, limit, seed), loss
        )
        found["random"] += any(best in a.architectures for a in asks)
    assert found["predictor"] == 3
    assert found["random"] <= 1


def test_what_is_drawn_is_feasible_new_and_scored_in_full(tiny_space: Any, quick_fits: None) -> None:
    problem = problem_of(tiny_space, 200)
    asks, _ = run(Predictor(SMALL), problem, additive(tiny_space))
    assert [(len(a.architectures), a.keep, a.train) for a in asks] == [(20, None, 0)] * 6
    drawn = [a for ask in asks[:5] for a in ask.architectures]
    assert len(set(drawn)) == 100
    assert all(problem.feasible(a) for ask in asks for a in ask.architectures)


def test_the_last_batch_is_the_best_by_prediction(tiny_space: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a predictor that is right, an evolution of few generations ends among the best of the space."""
    loss = additive(tiny_space)
    monkeypatch.setattr(predictor, "fit", lambda *_: lambda archs: [loss(0, a) for a in archs])
    asks, _ = run(Predictor(evolve(SMALL, iterations=2)), problem_of(tiny_space), loss)
    last = [loss(0, a) for a in asks[-1].architectures]
    assert last == sorted(last)
    assert last[0] == min(loss(0, a) for a in tiny_space.everything())
    assert last[-1] < np.quantile([loss(0, a) for a in tiny_space.everything()], 0.05)


@pytest.mark.parametrize("mutation", [0.0, 0.3, 1.0])
def test_a_mutant_draws_each_choice_anew_with_the_probability(mutation: float, tiny_space: Any) -> None:
    """One of three options, so that a third of the draws change nothing: 1000 mutants, 5 standard deviations."""
    strategy = Predictor(evolve(SMALL, mutation=mutation))
    strategy.start(problem_of(tiny_space))
    largest = tiny_space.largest()
    changed = sum(strategy._mutant(largest).genes[1] != largest.genes[1] for _ in range(1000))
    expected = mutation * 2 / 3
    assert changed / 1000 == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / 1000))


def test_a_child_has_each_choice_of_a_parent_that_has_it(tiny_space: Any) -> None:
    """An inactive gene is 0, which is no choice of the shallow parent."""
    strategy = Predictor(SMALL)
    strategy.start(problem_of(tiny_space))
    deep, shallow = tiny_space.largest(), tiny_space.smallest()
    children = {strategy._child(*pair) for pair in ((deep, shallow), (shallow, deep)) for _ in range(100)}
    own = [tiny_space.options(a) for a in (deep, shallow)]
    assert {tiny_space.options(c)["depth"] for c in children} == {own[0]["depth"], own[1]["depth"]}
    for child in children:
        assert all(v in [o[k] for o in own if k in o] for k, v in tiny_space.options(child).items())


def test_a_search_goes_on_to_the_last_bit(tiny_space: Any, tmp_path: Path, quick_fits: None) -> None:
    """Stopped before its last batch, and after it."""
    whole = run(Predictor(SMALL), problem_of(tiny_space, 400), noise, SearchTrace(tmp_path / "whole.jsonl"))
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    for done in (3, 6):
        (tmp_path / "stopped.jsonl").write_text("".join(lines[:done]))
        asks, told = run(Predictor(SMALL), problem_of(tiny_space, 400), noise, SearchTrace(tmp_path / "stopped.jsonl"))
        assert (asks, told) == (whole[0][done:], whole[1][done:])


def test_without_a_finite_loss_the_last_batch_is_random(tiny_space: Any) -> None:
    asks, _ = run(Predictor(evolve(SMALL, iterations=2)), problem_of(tiny_space), lambda i, a: math.inf)
    assert not set(asks[0].architectures) & set(asks[1].architectures)
    assert len(asks[1].architectures) == 20


def test_its_share_of_a_sweep_is_all_that_it_asks_for(tiny_space: Any, quick_fits: None) -> None:
    asks, _ = run(Predictor(evolve(SMALL, iterations=2)), problem_of(tiny_space, share=0.3), noise)
    assert [len(a.architectures) for a in asks] == [6, 6]


def test_options_out_of_range_are_refused() -> None:
    """One iteration would have nothing to learn from."""
    for wrong in (
        {"population": 0},
        {"iterations": 1},
        {"pool": 1},
        {"generations": 0},
        {"parents": 0.0},
        {"parents": 1.1},
        {"mutation": -0.1},
        {"mutation": 1.1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PredictorOptions(**wrong)  # type: ignore[arg-type]


def test_it_is_registered_and_made_without_torch() -> None:
    code = "import sys; from hnas import Registry; Registry(third_party=False).create('strategy', 'predictor')"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr
    assert isinstance(Registry(third_party=False).create("strategy", "predictor"), Predictor)
