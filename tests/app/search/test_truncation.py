"""Scoring in part: the best k are found as if all had been scored, with less work."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnas import Architecture
from hnas_app.search.truncation import TaskScore, truncated


def architectures(count):
    return [Architecture(space="toy", genes=(i,)) for i in range(count)]


def run(losses, keep, few=2):
    """Score by a table (architectures, tasks). Returns what was found, and every question that was asked."""
    asked = []

    def look(wanted):
        asked.append({a: tuple(ts) for a, ts in wanted.items()})
        return {a: {t: TaskScore(losses[a.genes[0]][t], 0.5) for t in ts} for a, ts in wanted.items()}

    scoring = truncated(architectures(len(losses)), range(len(losses[0])), keep, few=few)
    wanted = next(scoring)
    while True:
        try:
            wanted = scoring.send(look(wanted))
        except StopIteration as end:
            return end.value, asked


loss = st.one_of(st.floats(0, 5, allow_subnormal=False), st.just(math.inf), st.sampled_from([0.0, 1.0]))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_best_are_those_of_a_full_evaluation(data):
    """Ties and infinities included: whoever is not complete is worse than every one of the best k."""
    count, tasks = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 17))
    row = st.lists(loss, min_size=tasks, max_size=tasks)
    losses = data.draw(st.lists(row, min_size=count, max_size=count))
    keep = data.draw(st.integers(1, count))
    found, asked = run(losses, keep, data.draw(st.integers(1, 5)))
    sums = [math.fsum(r) for r in losses]
    worst_kept = sorted(sums)[keep - 1]
    for arch, scores in found.items():
        row = losses[arch.genes[0]]
        assert scores == {t: TaskScore(row[t], 0.5) for t in scores}
        if len(scores) < tasks:
            assert sums[arch.genes[0]] > worst_kept
            assert math.fsum(s.loss for s in scores.values()) > worst_kept
    assert sum(len(s) == tasks for s in found.values()) >= keep
    questions = [(a, t) for wave in asked for a, ts in wave.items() for t in ts]
    assert len(questions) == len(set(questions))
    assert all(ts for wave in asked for ts in wave.values())


def test_all_are_scored_where_all_matter():
    losses = np.random.default_rng(0).uniform(0, 2, (6, 16)).tolist()
    for keep in (None, 6, 7):
        found, asked = run(losses, keep)
        assert len(asked) == 1
        assert all(len(s) == 16 for s in found.values())


@pytest.mark.parametrize("spread", [0.15, 0.3, 0.6])
def test_it_spares_what_can_be_spared(spread):
    """Nearly: who knew the threshold and the hardest tasks from the start would still ask for 85 % as much."""
    generator = np.random.default_rng(1)
    network, task = np.abs(generator.normal(0, spread, 100)), generator.normal(0, 0.4, 16)
    losses = np.exp(network[:, None] + task + generator.normal(0, 0.3, (100, 16)))
    found, asked = run(losses.tolist(), 10)
    threshold = np.sort(losses.sum(1))[9]
    sums = losses[:, np.argsort(-losses.mean(0))].cumsum(1)
    least = np.where(sums[:, -1] <= threshold, 16, (sums <= threshold).sum(1) + 1).sum()
    assert least < 0.85 * 1600
    assert sum(map(len, found.values())) <= least / 0.85
    assert len(asked) <= 10


def test_hard_tasks_come_first():
    """They tell the most about a loser: its sum passes the threshold with the fewest of them."""
    best, loser = [0.1] * 8 + [1.0] * 8, [0.2, 0.2] + [0.5] * 6 + [3.0] * 8
    found, _ = run([best] * 3 + [loser] * 9, 3)
    stopped = [s for s in found.values() if len(s) < 16]
    assert len(stopped) == 7  # two went on to the end, as the most promising
    for scores in stopped:
        assert {0, 1} < set(scores)
        assert set(scores) - {0, 1} == {8, 9, 10, 11}
