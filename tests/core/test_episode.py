"""Tasks keep the ids of their classes, however they are divided, joined and moved."""

from __future__ import annotations

import attrs
import pytest
import torch

from hnas import Episodes, EpisodeSpec, Seeds
from hnas.testing import TinyTasks
from hnas_app.testing.expectation import sent_to_a_worker

SPEC = EpisodeSpec(n_way=3, k_shot=1, n_query=2)


def drawn(count: int = 4) -> Episodes:
    return TinyTasks().sample("train", SPEC, [Seeds(0).numpy("tasks", i) for i in range(count)])


def test_the_ids_of_classes_go_with_their_tasks() -> None:
    tasks = drawn()
    ids = tasks.classes
    assert ids is not None
    assert ids.shape == (4, 3)
    parts = {
        "select": (tasks.select([2, 0]), [2, 0]),
        "slice": (tasks[1:3], [1, 2]),
        "gather": (Episodes.gather((tasks[i : i + 1] for i in (3, 1)), 2), [3, 1]),
        "to": (tasks.to("cpu"), [0, 1, 2, 3]),
        "pickle": (sent_to_a_worker(tasks, "batch of tasks"), [0, 1, 2, 3]),
    }
    for name, (part, numbers) in parts.items():
        assert part.classes is not None
        assert torch.equal(part.classes, ids[numbers]), name
        assert torch.equal(part.query_x, tasks.query_x[numbers]), name
    assert tasks.nbytes - attrs.evolve(tasks, classes=None).nbytes == 4 * 3 * 8


def test_tasks_without_ids_stay_without() -> None:
    bare = attrs.evolve(drawn(), classes=None)
    joined = Episodes.gather([bare[:1], bare[1:2]], 2)
    assert [part.classes for part in (bare[:2], bare.select([1]), bare.to("cpu"), joined)] == [None] * 4
    assert set(bare.tensors) == {"support_x", "support_y", "query_x", "query_y"}


@pytest.mark.parametrize("first", [True, False])
def test_tasks_with_and_without_ids_are_not_joined(first: bool) -> None:
    """The ids of some tasks would be what happened to be in memory."""
    tasks = [drawn(1), attrs.evolve(drawn(1), classes=None)]
    with pytest.raises(ValueError, match="some tasks have classes"):
        Episodes.gather(tasks if first else tasks[::-1], 2)
