"""A search is replayed from its trace, and nothing but that search's own trace is accepted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from hnas import Architecture, Ask, DataError, PluginError, Scored, SearchProblem, SearchStrategy
from hnas.cost import PARAMS
from hnas.events import Event
from hnas.toolkit.files import sealed
from hnas_app.costs.limits import Constraint, resolve
from hnas_app.search.feasibility import Feasibility
from hnas_app.search.loop import Search, search
from hnas_app.search.trace import SearchTrace


class Walk(SearchStrategy):
    """Asks for mutants of the best architecture so far: all that it asks depends on all that it was told."""

    def __init__(self, iterations: int = 4, keep: int | None = None) -> None:
        self._iterations, self._keep = iterations, keep

    @property
    def iterations(self) -> int:
        return self._iterations

    def start(self, problem: SearchProblem) -> None:
        self.problem, self.told = problem, list[list[Scored]]()
        self._best = problem.sample_feasible(problem.generator)

    def ask(self) -> Ask | None:
        if len(self.told) == self._iterations:
            return None
        pool = [self._best]
        while len(pool) < 4:
            mutant = self.problem.space.mutate(self._best, self.problem.generator)
            pool += [mutant] if self.problem.feasible(mutant) else []
        return Ask(architectures=tuple(pool), keep=self._keep)

    def tell(self, scored: Sequence[Scored]) -> None:
        self.told.append(list(scored))
        self._best = min(scored, key=lambda s: s.loss).arch


class Fixed(Walk):
    """Asks once for what it was given."""

    def __init__(self, ask: Ask | None) -> None:
        super().__init__(1)
        self.fixed = ask

    def ask(self) -> Ask | None:
        return None if self.told else self.fixed


class Evaluator:
    """Scores that differ from iteration to iteration; some are infinite, one is not a number."""

    def __init__(self, problem: SearchProblem, stop_at: int | None = None) -> None:
        self.problem, self.stop_at, self.calls = problem, stop_at, list[int]()

    def __call__(self, iteration: int, ask: Ask) -> list[Scored]:
        if iteration == self.stop_at:
            raise KeyboardInterrupt
        self.calls.append(iteration)
        scored = []
        for n, arch in enumerate(ask.architectures):
            draw = np.random.default_rng([iteration, *arch.genes]).random()
            loss = (math.inf, math.nan, draw, draw)[n] if iteration else draw
            scored.append(
                Scored(arch=arch, loss=loss, accuracy=1 / 3 * draw, cost=self.problem.cost(arch), bound=n == 3)
            )
        return scored


@pytest.fixture
def make_problem(tiny_space: Any) -> Callable[[], SearchProblem]:
    limits = resolve([Constraint.parse("params<=600")], [PARAMS], None)
    feasibility = Feasibility(tiny_space, limits, tiny_space.cost)
    return lambda: SearchProblem(
        space=tiny_space,
        feasible=feasibility.feasible,
        cost=tiny_space.cost,
        sample_feasible=feasibility.sample,
        generator=np.random.default_rng(7),
    )


Problem = Callable[[], SearchProblem]


def alone(
    strategy: SearchStrategy, problem: SearchProblem, evaluate: Callable[[int, Ask], list[Scored]], **options: Any
) -> list[Scored]:
    """Run one search, and return what its last iteration scored."""
    one = Search(strategy=strategy, problem=problem, **options)
    (found,) = search([one], lambda i, asks, _: {name: evaluate(i, ask) for name, ask in asks.items()}).values()
    return found


def run(
    problem: SearchProblem, path: Path, *, stop_at: int | None = None, strategy: Walk | None = None
) -> tuple[list[Scored], list[int], list[Event], Walk]:
    """Search with a trace; return the result, the iterations that were evaluated, the events and the strategy."""
    evaluate, events, strategy = Evaluator(problem, stop_at), list[Event](), strategy or Walk()
    trace = SearchTrace(path)
    result = alone(strategy, problem, evaluate, trace=trace, emit=events.append)
    return result, evaluate.calls, events, strategy


@pytest.mark.parametrize("stop_at", [0, 1, 3])
def test_an_interrupted_search_ends_as_if_it_had_not_been(make_problem: Problem, tmp_path: Path, stop_at: int) -> None:
    whole, calls, _, told = run(make_problem(), tmp_path / "whole.jsonl")
    assert calls == [0, 1, 2, 3]
    path = tmp_path / "search.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(make_problem(), path, stop_at=stop_at)
    result, calls, events, told_again = run(make_problem(), path)
    assert calls == list(range(stop_at, 4))
    assert result == whole
    assert told_again.told == told.told
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert [e.values["replayed"] for e in events] == [i < stop_at for i in range(4)]
    # Once more over a finished search: nothing is evaluated.
    assert run(make_problem(), path)[:2] == (whole, [])


def test_a_trace_changes_nothing(make_problem: Problem, tmp_path: Path) -> None:
    problem = make_problem()
    untraced = alone(Walk(), problem, Evaluator(problem))
    assert run(make_problem(), tmp_path / "search.jsonl")[0] == untraced


def test_no_strategy_sees_a_loss_that_is_not_a_number(make_problem: Problem, tmp_path: Path) -> None:
    """Sorting by NaN gives any order; infinity is last. It must be so after a replay too."""
    path = tmp_path / "search.jsonl"
    told = run(make_problem(), path)[3].told
    assert [s.loss for s in told[1][:2]] == [math.inf, math.inf]
    assert run(make_problem(), path)[3].told == told
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # 'Infinity' and 'NaN' are not JSON
    assert json.loads(line)["loss"][:2] == ["inf", "inf"]


def test_a_step_tells_of_the_best_of_its_iteration(make_problem: Problem, tmp_path: Path) -> None:
    _, _, events, strategy = run(make_problem(), tmp_path / "search.jsonl")
    assert [(e.phase, e.kind, e.done, e.total) for e in events] == [("adapt", "step", i, 4) for i in (1, 2, 3, 4)]
    for i, event in enumerate(events):
        best = min((s for s in strategy.told[i] if not s.bound), key=lambda s: s.loss)
        assert event.values == {
            "best_loss": best.loss,
            "best_accuracy": best.accuracy,
            "best_cost": dict(best.cost.values),
            "evaluated": 4 * (i + 1),
            "replayed": False,
        }
        json.dumps(event.values, allow_nan=False)


def test_a_step_without_a_finite_loss_has_no_best_loss(make_problem: Problem) -> None:
    problem, events = make_problem(), list[Event]()

    def diverged(iteration: int, ask: Ask) -> list[Scored]:
        return [attrs.evolve(s, loss=math.nan, accuracy=math.nan) for s in Evaluator(problem)(iteration, ask)]

    alone(Walk(1), problem, diverged, emit=events.append)
    assert (events[0].values["best_loss"], events[0].values["best_accuracy"]) == (None, 0.0)


@pytest.mark.parametrize("cut", [1, 40, 0])
def test_a_line_that_was_cut_short_is_dropped(make_problem: Problem, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "search.jsonl"
    whole = run(make_problem(), path)[0]
    data = path.read_bytes()
    # A kill cuts the line; a power cut can leave a line of zero bytes.
    path.write_bytes(data[:-cut] if cut else data[: data[:-1].rfind(b"\n") + 1] + bytes(100))
    result, calls, _, _ = run(make_problem(), path)
    assert calls == [3]
    assert result == whole
    assert path.read_bytes() == data


def edit(path: Path, line: int, change: Callable[[dict[str, Any]], None]) -> None:
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    change(lines[line])
    lines[line] = sealed({k: v for k, v in lines[line].items() if k != "checksum"})
    path.write_text("".join(json.dumps(text) + "\n" for text in lines))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["genes"].reverse(), "line 2.*not those that the strategy asks for"),
        (lambda r: r.update(space="vgg9"), "line 2.*not those that the strategy asks for"),
        (lambda r: r.update(keep=2), "line 2.*only its best 2 were scored in full, all are asked for"),
        (lambda r: r.update(iteration=5), "line 2: not the record of iteration 1"),
        (lambda r: r.update(schema=3), "line 2.*schema 3; this hnas reads 2"),
        (lambda r: r["loss"].pop(), "line 2: not the record"),
        (lambda r: r["loss"].__setitem__(0, "nan"), "line 2.*not a number"),
        (lambda r: r.pop("cost"), "line 2: not the record"),
    ],
)
def test_the_trace_of_another_search_is_refused(
    make_problem: Problem, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = tmp_path / "search.jsonl"
    run(make_problem(), path)
    edit(path, 1, change)
    before = path.read_bytes()
    with pytest.raises(DataError, match=message) as error:
        run(make_problem(), path)
    assert str(path) in str(error.value)
    assert "move" in (error.value.hint or "")
    assert path.read_bytes() == before


def test_damage_before_the_last_line_is_refused(make_problem: Problem, tmp_path: Path) -> None:
    """Dropping a line in the middle would drop good ones after it."""
    path = tmp_path / "search.jsonl"
    run(make_problem(), path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1][:50] + "\n" + "".join(lines[2:]))
    with pytest.raises(DataError, match="line 2"):
        SearchTrace(path)
    edit_last = tmp_path / "newer.jsonl"
    edit_last.write_text('{"schema":3}\n')  # whole, so written by a newer version rather than cut
    with pytest.raises(DataError, match=r"line 1.*schema 3"):
        SearchTrace(edit_last)


def test_scores_in_full_serve_where_fewer_are_asked_for(make_problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    whole = run(make_problem(), path)[0]
    assert run(make_problem(), path, strategy=Walk(keep=2))[:2] == (whole, [])


def test_a_full_disk_leaves_the_iterations_before(make_problem: Problem, tmp_path: Path) -> None:
    """The file-size limit stands in for a full disk: the kernel cuts the write in the same way."""
    import resource
    import signal

    path = tmp_path / "search.jsonl"
    whole = run(make_problem(), path)[0]
    data = path.read_bytes()
    path.unlink()
    room = data.find(b"\n", len(data) // 2) + 20  # ends within a line
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limit[1]))
        with pytest.raises(DataError, match="cannot record iteration") as error:
            run(make_problem(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert "--run-dir" in (error.value.hint or "")
    assert path.read_bytes() == data[: data[:room].rfind(b"\n") + 1]
    assert run(make_problem(), path)[0] == whole


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (Ask(architectures=()), "asked for no architecture"),
        (Ask(architectures=(Architecture("tiny", (0,) * 3),)), "3 genes, expected 10"),
        (
            Ask(architectures=(Architecture("tiny", (2, *(2, 2, 0) * 3)),)),
            r"breaks a constraint: .*'width3': 8.*params",
        ),
        (Ask(architectures=(Architecture("tiny", (0,) * 10),), keep=0), "keep=0"),
        (None, "ended without asking"),
    ],
)
def test_a_strategy_that_breaks_its_contract_is_named(make_problem: Problem, ask: Ask | None, message: str) -> None:
    problem = make_problem()
    evaluate = Evaluator(problem)
    with pytest.raises(PluginError, match=message) as error:
        alone(Fixed(ask), problem, evaluate)
    assert "Fixed" in str(error.value)
    assert evaluate.calls == []


def test_what_is_asked_twice_is_told_twice(make_problem: Problem) -> None:
    """A strategy may go through what it asked and what it is told in step."""
    problem = make_problem()
    arch = problem.sample_feasible(problem.generator)
    strategy = Fixed(Ask(architectures=(arch, arch)))
    alone(strategy, problem, Evaluator(problem))
    assert [s.arch for s in strategy.told[0]] == [arch, arch]


def test_an_evaluator_that_mixes_up_the_order_is_caught(make_problem: Problem) -> None:
    problem = make_problem()
    with pytest.raises(ValueError, match="in order"):
        alone(Walk(), problem, lambda i, a: Evaluator(problem)(i, a)[::-1])
