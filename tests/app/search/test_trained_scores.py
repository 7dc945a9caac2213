"""Scores after a short training: of a search in the manner of Auto-Meta, resumed, shared, and not mixed up."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from auto_meta import AutoMeta
from tiny_tasks import tiny_setup

from hnas import Architecture, Ask, Cost, DataError, PluginError, SearchProblem, SearchStrategy
from hnas.events import Event
from hnas.testing import StrategyConformance
from hnas_app.config.schema import RetrainConfig, SearchConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.search.adapt import Adaption, adapt
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.loop import Search, joined
from hnas_app.search.score_store import ScoreStore
from hnas_app.search.trace import SearchTrace
from hnas_app.trackers.json_lines import JsonLines
from hnas_app.training.setup.setup import Setup
from hnas_app.training.short import ShortTrainings, trained_alone

SEARCH = SearchConfig(tasks=5, pool=6, n_query=1, finalists=2, final_tasks=6)
RETRAIN = RetrainConfig(epochs=2, iterations=4, tasks=2, n_query=1)
OPTIONS = AutoMeta.Options(stages=2, train=2)
COST = Cost(values={"params": 1.0})


class TestAutoMeta(StrategyConformance):
    def make(self) -> AutoMeta:
        return AutoMeta(AutoMeta.Options(stages=5))


class Once(SearchStrategy):
    """Asks for one batch."""

    iterations = 1

    def __init__(self, *archs: Architecture, train: Any = 0) -> None:
        self._batch = Ask(architectures=archs, train=train)

    def start(self, problem: SearchProblem) -> None:
        self.told: Any = None

    def ask(self) -> Ask | None:
        return None if self.told else self._batch

    def tell(self, scored: Any) -> None:
        self.told = scored


class Counting(InProcess):
    """Keeps the items; is interrupted after ``stop_at`` of them, trainings and scorings alike."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.items, self.stop_at = list[Any](), stop_at

    def map_unordered(self, work: Any, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for i, item in enumerate(items):
            if len(self.items) == self.stop_at:
                raise KeyboardInterrupt
            self.items.append(item)
            ((_, result),) = super().map_unordered(work, [item])
            yield i, result

    @property
    def trained(self) -> list[Any]:
        return [item for item in self.items if hasattr(item, "until")]


def store_in(folder: Path, executor: InProcess, events: list[Event] | None = None) -> ScoreStore:
    folder.mkdir(exist_ok=True)
    emit = ([] if events is None else events).append
    trainings = ShortTrainings.of(folder, RETRAIN, emit)
    log = JsonLines(folder / "scores.jsonl")
    return ScoreStore(
        setup=tiny_setup(batch_below_gflop=0.0), executor=executor, config=SEARCH, log=log, trainings=trainings
    )


def state_of(setup: Setup) -> dict[str, torch.Tensor]:
    return setup.learner.init(setup.supernet, setup.seeds.torch("init"))


def search_of(name: str, strategy: SearchStrategy, folder: Path, emit: Any = lambda event: None) -> Search:
    space = tiny_setup(batch_below_gflop=0.0).space
    problem = SearchProblem(
        space=space,
        feasible=lambda arch: True,
        cost=lambda arch: COST,
        sample_feasible=space.sample,
        generator=np.random.default_rng(3),
        max_train=8,
    )
    return Search(name=name, strategy=strategy, problem=problem, trace=SearchTrace(folder / f"{name}.jsonl"), emit=emit)


def searched(folder: Path, *strategies: SearchStrategy, stop_at: int | None = None) -> tuple[dict[str, Adaption], Any]:
    """Search with each strategy at once; return the results and the executor."""
    with Counting(stop_at) as here:
        store = store_in(folder, here)
        searches = [search_of(f"s{i}", s, folder) for i, s in enumerate(strategies or [AutoMeta(OPTIONS)])]
        return adapt(searches, store, state_of(store.setup)), here


def records(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("s*.jsonl")}


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Adaption], Counting]:
    folder = tmp_path_factory.mktemp("untouched")
    return folder, *searched(folder)


def test_a_search_trains_what_it_scores(untouched: tuple[Path, dict[str, Adaption], Counting]) -> None:
    """The finalists, too, and the score is that of the learner with the trained weights."""
    folder, found, here = untouched
    adaption, setup = found["s0"], tiny_setup(batch_below_gflop=0.0)
    assert {(item.first, item.until) for item in here.trained} == {(0, 2)}
    assert len(here.trained) == len({item.arch for item in here.trained}) == 2 * 4
    assert {s.train for s in (*adaption.population, *adaption.finalists)} == {2}
    assert adaption.weights == "after 2 iterations of training"
    trainings = ShortTrainings.of(folder, RETRAIN, lambda event: None)
    alone = trained_alone(setup, adaption.chosen.arch)
    state = {k: torch.tensor(v) for k, v in trainings.state(adaption.chosen.arch, 2).items()}
    episodes = setup.episodes("validation", "search-tasks", range(6), 1)
    scores = setup.learner.score(alone.supernet, state, episodes, adaption.chosen.arch)
    assert adaption.chosen.loss == pytest.approx(scores.loss.mean().item(), rel=1e-5)


def test_losers_are_scored_in_part_and_trained_in_full(tmp_path: Path) -> None:
    archs = tuple(tiny_setup().space.sample(np.random.default_rng(i)) for i in range(8))
    found = []
    for keep in (None, 1):
        with Counting() as here:
            store = store_in(tmp_path / str(keep), here)
            store.start(state_of(store.setup))
            evaluator = Evaluator(scores=store.after(1), cost=lambda arch: COST)
            found.append(evaluator(0, Ask(architectures=archs, keep=keep, train=1)))
            assert len(here.trained) == len(archs)
    full, part = found
    assert any(s.bound for s in part)
    assert min(part, key=lambda s: (s.bound, s.loss)) == min(full, key=lambda s: s.loss)


@pytest.mark.parametrize("stop_at", [2, 6, pytest.param(19, marks=pytest.mark.slow)])
def test_a_stopped_search_ends_as_if_it_had_not_been(
    untouched: tuple[Path, dict[str, Adaption], Counting], tmp_path: Path, stop_at: int
) -> None:
    """In the trainings of the first batch, in its scores and in a later batch; nothing is trained twice."""
    folder, found, here = untouched
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, stop_at=stop_at)
    before = len(list((tmp_path / "search").glob("*.json")))
    again, after = searched(tmp_path)
    assert again == found
    assert records(tmp_path) == records(folder)
    assert before + len(after.trained) == len(here.trained)


def test_searches_share_scores_of_equal_training_only(tmp_path: Path) -> None:
    space = tiny_setup(batch_below_gflop=0.0).space
    one, two, three = (space.architecture(depth=d, kernel1=3) for d in (1, 2, 3))
    asking = [Once(one, two, train=4), Once(two, three, train=4), Once(two, train=0), Once(two, train=8)]
    found, here = searched(tmp_path, *asking)
    told = [[(s.arch, s.train) for s in strategy.told] for strategy in asking]
    assert told[0] == [(one, 4), (two, 4), (three, 4)]
    assert told[1] == [(two, 4), (three, 4), (one, 4)]
    assert told[2:] == [[(two, 0)], [(two, 8)]]
    assert sorted((i.arch, i.first, i.until) for i in here.trained) == [
        *((a, 0, 4) for a in (one,)), (two, 0, 4), (two, 4, 8), (three, 0, 4)
    ]  # fmt: skip
    losses = {s.train: s.loss for strategy in asking for s in strategy.told if s.arch == two}
    assert len(set(losses.values())) == 3
    assert [found[f"s{i}"].chosen.train for i in range(4)] == [4, 4, 0, 8]
    own = Ask(architectures=(one,), train=4)
    assert joined(own, [Ask(architectures=(two,)), Ask(architectures=(three,), train=4)], lambda arch: True) == Ask(
        architectures=(one, three), train=4
    )


def test_adaptions_are_counted_once_whatever_was_stopped(tmp_path: Path) -> None:
    arch = tiny_setup(batch_below_gflop=0.0).space.architecture(depth=1)
    with InProcess() as here:
        counts = []
        for _ in range(2):
            store = store_in(tmp_path, here)
            store.start(state_of(store.setup))
            for train in (0, 2) if not counts else ():
                Evaluator(scores=store.after(train), cost=lambda arch: COST)(0, Ask(architectures=(arch,)))
            counts.append(dict(store.spent))
    assert counts == [{"": 2 * SEARCH.tasks}] * 2


def test_a_network_whose_training_diverges_is_the_worst(tmp_path: Path) -> None:
    space, events = tiny_setup(batch_below_gflop=0.0).space, list[Event]()
    shallow, deep = space.architecture(depth=1), space.architecture(depth=2)
    with Counting() as here:
        store = store_in(tmp_path, here, events)
        state = state_of(store.setup)
        state["lslr/conv2.weight"] += torch.inf
        found = adapt([search_of("", Once(deep, shallow, train=2), tmp_path)], store, state)[""]
    assert [math.isfinite(s.loss) for s in found.population] == [False, True]
    assert found.chosen.arch == shallow
    assert sum(e.kind == "note" and "diverged" in e.text for e in events) == 1


@pytest.mark.parametrize(
    ("train", "message"),
    [(-1, r"train=-1, expected 0 to 8"), (9, r"train=9, expected 0 to 8 .*max_train"), ("all", r"train='all'")],
)
def test_training_that_there_is_not_is_refused(tmp_path: Path, train: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        searched(tmp_path, Once(tiny_setup(batch_below_gflop=0.0).space.largest(), train=train))


def test_a_record_of_other_training_is_refused(tmp_path: Path) -> None:
    arch = tiny_setup(batch_below_gflop=0.0).space.architecture(depth=1)
    searched(tmp_path, Once(arch, train=2))
    with pytest.raises(DataError, match="trained for 2 iterations, 0 are asked for"):
        searched(tmp_path, Once(arch))


def test_records_of_before_are_scores_of_the_super_net(tmp_path: Path) -> None:
    arch = tiny_setup(batch_below_gflop=0.0).space.architecture(depth=1)
    (found,) = searched(tmp_path / "now", Once(arch))[0].values()
    trace, log = tmp_path / "now" / "s0.jsonl", tmp_path / "now" / "scores.jsonl"
    line = json.loads(trace.read_text())
    assert (line.pop("train"), "train" in json.loads(log.read_text().splitlines()[0])) == (0, False)
    # As of a version before the checksums, which had no such key.
    trace.write_text(json.dumps({k: v for k, v in line.items() if k != "checksum"} | {"schema": 1}) + "\n")
    assert searched(tmp_path / "now", Once(arch))[0] == {"s0": found}
