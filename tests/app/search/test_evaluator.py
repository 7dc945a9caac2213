"""Scores of a search's candidates: common tasks, the mean loss over them, and nothing else that they depend on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from tiny_tasks import tiny_setup

from hnas import Architecture, Ask, Cost, Scored, Scores
from hnas.errors import PluginError
from hnas.seeds import Seeds
from hnas_app.config.schema import EvaluateConfig, SearchConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.place import Place
from hnas_app.search.score_store import ScoreStore
from hnas_app.training.accuracy import Accuracy
from hnas_app.training.evaluate import baseline_accuracies, evaluate, nearest_class_mean
from hnas_app.training.setup.setup import Setup

CONFIG = SearchConfig(tasks=4, pool=9, n_query=3, finalists=2, final_tasks=7)


class Recording(InProcess):
    """Keeps what it was asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Any] = []

    def map_unordered(self, work: Any, items: Any) -> Iterator[tuple[int, Any]]:
        self.items += items
        return super().map_unordered(work, items)


@pytest.fixture(scope="module")
def executor() -> Iterator[Recording]:
    with Recording() as alone:
        yield alone


@pytest.fixture
def make_evaluator(executor: Recording) -> Any:
    """Return a function that makes an evaluator over a fresh super-net, on one or more settings."""

    def make(setup: Setup | None = None, **settings: Any) -> Evaluator:
        setup = setup or tiny_setup()

        def cost(arch: Architecture) -> Cost:
            layers = setup.space.layers(arch, (1, 8, 8), 3)
            counts = {n: float(sum(getattr(layer, n) for layer in layers)) for n in ("params", "macs")}
            return Cost(values=counts)

        config = SearchConfig(**{"tasks": 4, "pool": 9, "n_query": 3, "finalists": 2, "final_tasks": 7, **settings})
        evaluator = Evaluator(scores=ScoreStore(setup=setup, executor=executor, config=config), cost=cost)
        evaluator.scores.start(setup.learner.init(setup.supernet, setup.seeds.torch("init")))
        executor.items.clear()
        return evaluator

    return make


def score(evaluator: Evaluator, architectures: Sequence[Architecture], tasks: Any, **keep: Any) -> list[Scored]:
    return evaluator.scores.run(evaluator.score(architectures, tasks, **keep))


def finals(evaluator: Evaluator, population: Sequence[Scored]) -> tuple[list[Scored], Place]:
    return evaluator.scores.run(evaluator.finals(population, lambda arch: True))


def candidates(setup: Setup, count: int = 5) -> tuple[Architecture, ...]:
    return tuple(setup.space.sample(np.random.default_rng(i)) for i in range(count))


@pytest.mark.parametrize("fitness", ["query", "support"])
def test_a_score_is_the_mean_over_the_tasks(make_evaluator: Any, fitness: Any) -> None:
    """Written out with the learner, on the validation classes, with the fitness that was asked for."""
    evaluator = make_evaluator(fitness=fitness)
    setup = evaluator.scores.setup
    archs = candidates(setup)
    scored = score(evaluator, archs, [0, 3, 8])
    state = setup.learner.init(setup.supernet, setup.seeds.torch("init"))
    for arch, found in zip(archs, scored, strict=True):
        episodes = setup.episodes("validation", "search-tasks", [0, 3, 8], 3)
        expected = setup.learner.score(setup.supernet, state, episodes, arch, on=fitness)
        assert found.arch == arch
        assert found.loss == pytest.approx(expected.loss.mean().item(), rel=1e-5)
        assert found.accuracy == pytest.approx(expected.accuracy.mean().item(), rel=1e-5)
        assert found.cost == evaluator.cost(arch)
        assert not found.bound


def test_an_iterations_candidates_share_its_tasks(make_evaluator: Any, executor: Recording) -> None:
    """Candidates on different tasks are compared by luck. Other iterations draw others, all from the pool."""
    seen = []
    for iteration in range(12):
        evaluator = make_evaluator()  # one that knows no score yet
        evaluator(iteration, Ask(architectures=candidates(evaluator.scores.setup, 3)))
        (tasks,) = {item[1] for item in executor.items}
        assert len(set(tasks)) == 4
        seen.append(tasks)
    assert len(set(seen)) > 6
    assert {t for tasks in seen for t in tasks} == set(range(9))


def test_a_score_depends_on_seed_iteration_and_architecture_only(make_evaluator: Any) -> None:
    """A search is replayed from its trace after a stop; the order and the company of a candidate must not matter."""
    evaluator = make_evaluator()
    archs = candidates(evaluator.scores.setup)
    once = evaluator(3, Ask(architectures=archs))
    evaluator(4, Ask(architectures=archs))
    again = make_evaluator()(3, Ask(architectures=archs[::-1]))
    assert again[::-1] == once
    assert [s.loss for s in evaluator(4, Ask(architectures=archs))] != [s.loss for s in once]
    other = make_evaluator(tiny_setup(1))(3, Ask(architectures=archs))
    assert [s.loss for s in other] != [s.loss for s in once]


def test_the_costliest_goes_first(make_evaluator: Any, executor: Recording) -> None:
    """Else a worker may start the largest network when all others are done."""
    evaluator = make_evaluator()
    archs = candidates(evaluator.scores.setup, 6)
    scored = score(evaluator, archs, [0])
    work = [evaluator.scores.setup.work(item[0]) for item in executor.items]
    assert work == sorted(work, reverse=True)
    assert [s.arch for s in scored] == list(archs)


def test_a_task_is_scored_once(make_evaluator: Any, executor: Recording) -> None:
    """With fixed tasks, all of an elite's; with fresh ones, those that it met before. Its scores stay as they were."""
    evaluator = make_evaluator(slice="fixed")
    archs = candidates(evaluator.scores.setup, 3)
    first = evaluator(0, Ask(architectures=archs))
    executor.items.clear()
    assert evaluator(1, Ask(architectures=archs[::-1])) == first[::-1]
    assert not executor.items
    asked = []
    evaluator = make_evaluator()
    for iteration in range(8):
        evaluator(iteration, Ask(architectures=archs))
        asked += [(item[0], t) for item in executor.items for t in item[1]]
        executor.items.clear()
    assert len(asked) == len(set(asked)) <= 3 * 9


def test_other_weights_are_scored_anew(make_evaluator: Any, executor: Recording) -> None:
    evaluator = make_evaluator(slice="fixed")
    archs = candidates(evaluator.scores.setup, 2)
    first = evaluator(0, Ask(architectures=archs))
    setup = evaluator.scores.setup
    evaluator.scores.start(setup.learner.init(setup.supernet, setup.seeds.torch("other")))
    assert [s.loss for s in evaluator(0, Ask(architectures=archs))] != [s.loss for s in first]


@pytest.mark.parametrize("keep", [1, 2])
def test_the_best_that_matter_are_scored_as_if_all_did(make_evaluator: Any, executor: Recording, keep: int) -> None:
    """Stopped ones are marked, and their loss is a bound that the best stay below."""
    tasks = range(9)
    evaluator = make_evaluator()
    archs = candidates(evaluator.scores.setup, 12)
    full = score(evaluator, archs, tasks)
    executor.items.clear()
    part = score(make_evaluator(), archs, tasks, keep=keep)
    best = sorted(full, key=lambda s: s.loss)[:keep]
    assert sorted(part, key=lambda s: (s.bound, s.loss))[:keep] == best
    assert any(s.bound for s in part)
    assert sum(len(item[1]) for item in executor.items) < 12 * 9
    for stopped, scored in zip(part, full, strict=True):
        assert stopped == scored or (stopped.bound and best[-1].loss < stopped.loss <= scored.loss)


def test_finalists_are_the_best_scored_on_more_tasks(make_evaluator: Any, executor: Recording) -> None:
    evaluator = make_evaluator()
    population = evaluator(0, Ask(architectures=candidates(evaluator.scores.setup, 6)))
    best_first, place = finals(make_evaluator(), population)  # by one that knows no score yet
    best = sorted(population, key=lambda s: s.loss)[:2]
    assert {s.arch for s in best_first} == {s.arch for s in best}
    (tasks,) = {item[1] for item in executor.items}
    assert len(set(tasks)) == 7
    assert best_first[0].loss <= best_first[1].loss
    assert finals(evaluator, population) == (best_first, place)
    assert 1 <= place.low <= place.high <= place.of == 2
    assert place.tasks == 7


def test_a_network_that_was_asked_for_twice_is_one_finalist(make_evaluator: Any) -> None:
    """Its double would take the place of another, and "place 1 of 2" would compare it with itself."""
    evaluator = make_evaluator()
    population = evaluator(0, Ask(architectures=candidates(evaluator.scores.setup, 3)))
    assert finals(evaluator, [s for s in population for _ in range(2)]) == finals(evaluator, population)


def test_finalists_of_all_that_was_scored_differ_in_size_and_have_plain_forms(make_evaluator: Any) -> None:
    """A converged population differs in activations only; which of these is best, the super-net cannot tell."""
    evaluator = make_evaluator(candidates="all", finalists=4)
    space = evaluator.scores.setup.space
    small, large = ({"depth": 1, "kernel1": 3, "scale1": scale} for scale in (0.5, 1.0))
    activations = ("relu", "elu", "selu", "relu6")
    archs = [space.architecture(**size, activation1=a) for size in (small, large) for a in activations]
    population = evaluator(0, Ask(architectures=tuple(archs)))

    def plain(arch: Architecture) -> Architecture:
        return space.architecture(**{**space.options(arch), "activation1": "relu"})

    found, _ = evaluator.scores.run(evaluator.finals(population, lambda arch: True, plain))
    options = [space.options(s.arch) for s in found]
    assert {o["scale1"] for o in options} == {0.5, 1.0}
    assert {(0.5, "relu"), (1.0, "relu")} <= {(o["scale1"], o["activation1"]) for o in options}
    paper = make_evaluator(finalists=4)
    last, _ = paper.scores.run(paper.finals(population, lambda arch: True, plain))
    assert {s.arch for s in last} == {s.arch for s in sorted(population, key=lambda s: s.loss)[:4]}


def test_a_pool_smaller_than_asked_for_is_used_whole(make_evaluator: Any, executor: Recording) -> None:
    evaluator = make_evaluator(pool=3)
    population = evaluator(0, Ask(architectures=candidates(evaluator.scores.setup, 2)))
    assert {item[1] for item in executor.items} == {(0, 1, 2)}
    assert {s.loss for s in finals(evaluator, population)[0]} == {s.loss for s in population}


def test_a_candidate_that_diverges_scores_infinity_and_is_no_finalist(make_evaluator: Any) -> None:
    """By an inner rate of one layer that only deep networks have."""
    setup = tiny_setup()
    evaluator = make_evaluator(setup)
    state = setup.learner.init(setup.supernet, setup.seeds.torch("init"))
    state["lslr/conv2.weight"] += torch.inf
    evaluator.scores.start(state)
    shallow, deep = setup.space.architecture(depth=1), setup.space.architecture(depth=2)
    scored = evaluator(0, Ask(architectures=(deep, shallow)))
    assert scored[0].loss == math.inf
    assert math.isfinite(scored[1].loss)
    assert finals(evaluator, scored)[0][0].arch == shallow


def test_a_negative_loss_is_refused(make_evaluator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's learner might score one; losers would then be left who might still have won."""
    evaluator = make_evaluator()
    scores = Scores(loss=torch.tensor([1.0, -0.5]), accuracy=torch.ones(2))
    monkeypatch.setattr(type(evaluator.scores.setup.learner), "score", lambda *a, **k: scores)
    with pytest.raises(PluginError, match=r"loss of -0\.5; expected none below 0"):
        score(evaluator, candidates(evaluator.scores.setup, 1), [0, 1])


def test_the_final_test_is_the_accuracy_over_the_test_tasks(executor: Executor) -> None:
    """The same tasks for every network, and for the baseline beside it."""
    setup = tiny_setup()
    state = setup.learner.init(setup.supernet, setup.seeds.torch("init"))
    config = EvaluateConfig(tasks=60, n_query=4)
    arch = setup.space.architecture(depth=1, kernel1=3, scale1=1.0)
    found = evaluate(setup, state, arch, config, executor)
    episodes = setup.episodes("test", "test-tasks", range(60), 4)
    expected = setup.learner.score(setup.supernet, state, episodes, arch)
    by_hand = Accuracy.over(expected.accuracy.tolist())
    assert (found.tasks, found.mean) == (60, pytest.approx(by_hand.mean, abs=1e-3))
    assert found.half_width == pytest.approx(by_hand.half_width, rel=0.05)
    baseline = Accuracy.over(baseline_accuracies(setup, config)[0])
    assert baseline == Accuracy.over(nearest_class_mean(episodes).tolist())
    assert baseline.mean > 0.9  # patterns under noise: what a nearest mean is made for


def test_equal_digests_are_of_the_same_test_tasks() -> None:
    """Differences between runs are paired by it."""

    def digest(n_query: int = 4, tasks: int = 25, **changed: Any) -> str:
        config = EvaluateConfig(tasks=tasks, n_query=n_query)
        return baseline_accuracies(attrs.evolve(tiny_setup(), **changed), config)[1]

    same = digest()
    assert digest() == same
    others = [digest(n_query=3), digest(tasks=24), digest(seeds=Seeds(1)), digest(n_way=2), digest(k_shot=4)]
    assert len({same, *others}) == 6
