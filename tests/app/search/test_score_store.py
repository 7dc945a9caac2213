"""Scores that several searches share: each (architecture, task) is adapted once, counted once, and kept on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from counting import Counting
from tiny_tasks import tiny_setup

from hnas import Architecture, Ask, Cost, DataError, Scored
from hnas_app.config.schema import SearchConfig
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.score_store import ScoreStore
from hnas_app.trackers.json_lines import JsonLines

CONFIG = SearchConfig(tasks=10, pool=12, n_query=3)


def make_store(log: Path | None = None, stop_at: int | None = None) -> tuple[ScoreStore, Counting]:
    setup, executor = tiny_setup(batch_below_gflop=0.0), Counting(stop_at)
    store = ScoreStore(setup=setup, executor=executor, config=CONFIG, log=JsonLines(log) if log else None)
    store.start(setup.learner.init(setup.supernet, setup.seeds.torch("init")))
    return store, executor


def batches(store: ScoreStore) -> dict[str, Ask]:
    """Two batches that have six of sixteen architectures in common."""
    archs = [store.setup.space.sample(np.random.default_rng(i)) for i in range(16)]
    return {
        "first": Ask(architectures=tuple(archs[:11]), keep=1),
        "second": Ask(architectures=tuple(archs[5:]), keep=1),
    }


def scored_together(store: ScoreStore, proposed_by: dict[Architecture, str] | None = None) -> dict[str, list[Scored]]:
    evaluator = Evaluator(scores=store, cost=lambda arch: Cost(values={}))
    wanted = {name: evaluator.iteration(0, ask) for name, ask in batches(store).items()}
    return store.settle(wanted, proposed_by)


def test_together_each_is_adapted_once_and_scores_as_alone() -> None:
    """Truncation included: whom a threshold stops is each batch's own affair."""
    store, executor = make_store()
    together = scored_together(store)
    alone, ran = {}, 0
    for name, ask in batches(store).items():
        single, counting = make_store()
        alone[name] = Evaluator(scores=single, cost=lambda arch: Cost(values={}))(0, ask)
        ran += len(counting.ran)
        assert single.spent == {"": len(counting.ran)}
    assert together == alone
    assert any(s.bound for scored in alone.values() for s in scored)
    assert len(executor.ran) == len(set(executor.ran)) == len(store.known) < ran


def test_an_adaption_counts_for_who_proposed_it_else_for_the_first() -> None:
    store, executor = make_store()
    scored_together(store)
    assert sum(store.spent.values()) == len(executor.ran)
    common = set(batches(store)["first"].architectures) & set(batches(store)["second"].architectures)
    first = sum(a in batches(store)["first"].architectures for a, _ in executor.ran)
    only_first = sum(a in batches(store)["first"].architectures and a not in common for a, _ in executor.ran)
    assert only_first < store.spent["first"] <= first
    other, executor = make_store()
    scored_together(other, dict.fromkeys(common, "second"))
    assert other.known == store.known
    assert only_first <= other.spent["first"] < store.spent["first"]
    assert sum(other.spent.values()) == len(executor.ran)


@pytest.mark.parametrize("stop_at", [0, 3, 14])
def test_after_a_stop_nothing_is_adapted_again(tmp_path: Path, stop_at: int) -> None:
    """Nor counted for another: what a pair cost must not depend on when the sweep was stopped."""
    whole, executor = make_store()
    expected = scored_together(whole)
    log = tmp_path / "scores.jsonl"
    store, before = make_store(log, stop_at)
    with pytest.raises(KeyboardInterrupt):
        scored_together(store)
    store, after = make_store(log)
    assert scored_together(store) == expected
    assert sorted(before.ran + after.ran) == sorted(executor.ran)
    assert (store.known, store.spent) == (whole.known, whole.spent)
    # Once more: all is on record.
    store, after = make_store(log)
    assert scored_together(store) == expected
    assert after.ran == []


def test_a_line_cut_short_is_adapted_again(tmp_path: Path) -> None:
    log = tmp_path / "scores.jsonl"
    expected = scored_together(make_store(log)[0])
    lines = log.read_bytes()
    log.write_bytes(lines[:-9])
    store, executor = make_store(log)
    assert scored_together(store) == expected
    assert len(executor.ran) == len(json.loads(lines.splitlines()[-1])["tasks"])


def test_a_network_that_diverges_is_on_record_as_that(tmp_path: Path) -> None:
    """JSON has no infinity."""
    log = tmp_path / "scores.jsonl"
    store, _ = make_store(log)
    state = store.setup.learner.init(store.setup.supernet, store.setup.seeds.torch("init"))
    state["lslr/conv1.weight"] += np.inf
    store.start(state)
    expected = scored_together(store)
    assert all(s.loss == np.inf for s in expected["first"])
    json.loads(log.read_text().splitlines()[0], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    store, executor = make_store(log)
    assert scored_together(store) == expected
    assert executor.ran == []


def test_a_log_of_something_else_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "scores.jsonl"
    log.write_text('{"space": "vgg9", "genes": [1], "tasks": [1, 2], "for": ["a"], "loss": [1], "accuracy": [1]}\n')
    with pytest.raises(DataError, match=r"scores\.jsonl is damaged or was edited: .*of one length"):
        make_store(log)


def test_another_digit_of_a_score_is_refused(tmp_path: Path) -> None:
    """It would choose another network; lines of an older hnas have no checksum, and are read."""
    log = tmp_path / "scores.jsonl"
    expected = scored_together(make_store(log)[0])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    older = [{k: v for k, v in line.items() if k not in ("schema", "checksum")} for line in lines]
    log.write_text("".join(json.dumps(line) + "\n" for line in older))
    store, executor = make_store(log)
    assert (scored_together(store), executor.ran) == (expected, [])
    lines[0]["loss"][0] += 1
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match=r"scores\.jsonl is damaged or was edited: its checksum does not hold"):
        make_store(log)
