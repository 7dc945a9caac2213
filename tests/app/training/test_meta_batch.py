"""Cutting a meta-batch: every task once, work spread evenly, architectures kept together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tiny_tasks import tiny_setup

from hnas import Architecture, Progress
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.threads import Threads
from hnas_app.training.meta_batch import Part, cut, meta_gradient

PROGRESS = Progress(iteration=3, iterations_per_epoch=4, epochs=1)


def named(count: int) -> list[Architecture]:
    return [Architecture("some", (i,)) for i in range(count)]


def tasks_of(parts: Sequence[Part]) -> list[int]:
    return sorted(i for part in parts for i in part.tasks)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 2, 4, 20])
@pytest.mark.parametrize("tasks", [1, 2, 16])
def test_every_task_is_trained_once(count: int, tasks: int, workers: int) -> None:
    parts = cut(named(count), tasks, workers, lambda a: 1.0 + a.genes[0])
    assert tasks_of(parts) == list(range(tasks))
    assert all(part.tasks for part in parts)


def test_which_tasks_an_architecture_gets_does_not_depend_on_the_workers() -> None:
    """A training with other workers, or on another machine, must go on as the same training."""

    def shares(workers: int) -> dict[Architecture, list[int]]:
        parts = cut(named(3), 16, workers, lambda a: 10.0 ** a.genes[0])
        return {a: tasks_of([p for p in parts if p.arch == a]) for a in named(3)}

    assert shares(1) == shares(2) == shares(8)
    assert [len(tasks) for tasks in shares(1).values()] == [5, 5, 6]


def test_one_architecture_is_cut_into_a_part_for_each_worker() -> None:
    assert [list(p.tasks) for p in cut(named(1), 8, 2, lambda _: 5.0)] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_what_is_too_long_for_one_worker_is_cut_and_goes_first() -> None:
    """Of 16 tasks 4 are of a network ten times as large as the others: more than half of the work."""
    one, two, three, large = named(4)
    parts = cut([one, large, two, three], 16, 2, lambda a: 10.0 if a == large else 1.0)
    assert [(p.arch, len(p.tasks)) for p in parts] == [(large, 2), (large, 2), (one, 4), (two, 4), (three, 4)]


def test_the_load_is_even_with_as_few_parts_as_that_takes() -> None:
    """A network of three times the other's work: half of all work is two thirds of its tasks."""
    small, large = named(2)
    parts = cut([small, large], 24, 2, lambda a: 3.0 if a == large else 1.0)
    assert [(p.arch, list(p.tasks)) for p in parts] == [
        (large, list(range(16, 24))),
        (small, list(range(12))),
        (large, list(range(12, 16))),
    ]


def test_the_meta_gradient_is_the_sum_over_parts() -> None:
    """Two architectures of a meta-batch, together and each alone with its tasks."""
    setup = tiny_setup()
    state = setup.learner.init(setup.supernet, setup.seeds.torch("init"))
    archs = [setup.space.largest(), setup.space.smallest()]
    parts = cut(archs, 4, 1, lambda _: 1.0)
    with InProcess() as here:
        setup.send(here)
        together, scores = meta_gradient(here, state, parts, 2, PROGRESS, "train")
        singly = [meta_gradient(here, state, [part], 2, PROGRESS, "train") for part in parts]
    assert scores == [score for _, (score,) in singly]
    assert together.keys() == singly[0][0].keys() | singly[1][0].keys()
    for name, value in together.items():
        alone = sum(found[name] for found, _ in singly if name in found)
        assert value.allclose(alone), name


def test_threads_compute_what_one_does() -> None:
    """Bitwise with the same parts: what a set-up or a learner remembers must not get from one thread into another."""
    setup = tiny_setup()
    state = setup.learner.init(setup.supernet, setup.seeds.torch("init"))
    parts = cut([setup.space.largest(), setup.space.smallest()], 8, 4, lambda _: 1.0)
    found = []
    for executor in (InProcess(), Threads(3)):
        with executor:
            setup.send(executor)
            found.append([meta_gradient(executor, state, parts, 2, PROGRESS, "train") for _ in range(3)])
    assert len(parts) >= 4
    for (alone, scores), (together, others) in zip(*found, strict=True):
        assert scores == others
        assert alone.keys() == together.keys()
        assert all(alone[name].equal(together[name]) for name in alone)
