"""What every worker has: tasks by their index, a super-net made once, and little to pickle."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import tiny_tasks
import torch
from tiny_tasks import tiny_setup

from hnas import Episodes
from hnas_app.executors.in_process import InProcess
from hnas_app.training.setup.subnet import SubNet


def same(one: Episodes, other: Episodes) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items()
    )


class Counted(type(tiny_setup().tasks)):  # type: ignore[misc]
    """Counts the tasks that it draws."""

    drawn = 0

    def sample(self, *args: Any) -> Episodes:
        self.drawn += len(args[-1])
        return super().sample(*args)


def test_a_task_depends_on_its_index_only() -> None:
    """Workers draw parts of a stream, whatever their number; a resumed run draws it again."""
    setup = tiny_setup()
    whole = setup.episodes("train", "tasks", range(6), 2, 7)
    assert same(whole[2:5], tiny_setup().episodes("train", "tasks", range(2, 5), 2, 7))
    assert same(whole[4:5], setup.episodes("train", "tasks", [4], 2, 7))
    assert len(whole) == 6
    assert whole.query_x.shape == (6, 3 * 2, 1, 8, 8)
    assert not torch.equal(whole.support_x[0], whole.support_x[1])


def test_streams_differ_by_purpose_counter_split_and_seed() -> None:
    """Training on the tasks of the final test, or on the same ones in every iteration, would look fine."""
    setup = tiny_setup()
    base = setup.episodes("train", "tasks", range(2), 2, 7)
    others = [
        setup.episodes("train", "other", range(2), 2, 7),
        setup.episodes("train", "tasks", range(2), 2, 8),
        setup.episodes("train", "tasks", range(2), 2),
        setup.episodes("test", "tasks", range(2), 2, 7),
        tiny_setup(1).episodes("train", "tasks", range(2), 2, 7),
    ]
    assert not any(torch.equal(base.support_x, other.support_x) for other in others)


def test_tasks_drawn_ahead_are_those_that_would_have_been_drawn() -> None:
    """Also where the next iteration cuts its tasks in another way, or comes back to an earlier one."""
    ahead, plain = attrs.evolve(tiny_setup(), prefetch=True), tiny_setup()
    asked = [
        (range(4), 0),
        (range(4, 8), 0),
        (range(2, 8), 1),
        (range(2), 1),
        (range(8), 7),
        (range(8), 8),
        (range(3), 0),
    ]
    for indices, iteration in asked:
        drawn = ahead.episodes("train", "tasks", indices, 2, iteration)
        assert same(drawn, plain.episodes("train", "tasks", indices, 2, iteration))


def test_tasks_are_drawn_in_another_thread_before_they_are_asked_for() -> None:
    """Or training would wait for them."""
    threads: list[str] = []

    class Watched(type(tiny_setup().tasks)):  # type: ignore[misc]
        def sample(self, *args: Any) -> Episodes:
            threads.extend([threading.current_thread().name] * len(args[-1]))
            return super().sample(*args)

    setup = attrs.evolve(tiny_setup(), prefetch=True, tasks=Watched())
    for iteration in range(3):
        setup.episodes("train", "tasks", range(2), 2, iteration)
        deadline = time.monotonic() + 20
        while len(threads) < 2 * (iteration + 2) and time.monotonic() < deadline:
            time.sleep(0.01)
    here = threading.current_thread().name
    assert (len(threads), threads.count(here)) == (8, 2)  # only the first iteration's, for which nothing was ahead


def test_the_last_batch_is_remembered() -> None:
    """A search scores a hundred architectures on one batch; drawing it each time would take longer than scoring."""
    setup = tiny_setup()
    first = setup.episodes("validation", "search", [3, 1, 2], 2)
    assert setup.episodes("validation", "search", (3, 1, 2), 2) is first
    assert setup.episodes("validation", "search", [3, 1], 2) is not first
    assert setup.episodes("validation", "search", [3, 1, 2], 1).query_x.shape[1] == 3


def test_single_tasks_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates that are scored in part need other parts of the same tasks. Training never draws one again."""
    setup = tiny_setup()
    drawn: list[np.random.Generator] = []
    real = type(setup.tasks).sample
    monkeypatch.setattr(type(setup.tasks), "sample", lambda *a: drawn.extend(a[-1]) or real(*a))
    whole = setup.episodes("validation", "search", range(4), 2)
    assert same(setup.episodes("validation", "search", [2, 0], 2), Episodes.gather([whole[2:3], whole[0:1]], 2))
    assert len(drawn) == 4
    for _ in range(2):
        setup.episodes("train", "tasks", range(3), 2, 5)
        setup.episodes("train", "tasks", range(2), 2, 5)
    assert len(drawn) == 4 + 2 * 5
    monkeypatch.setattr("hnas_app.training.setup.remembered.REMEMBERED_BYTES", 2 * whole[:1].nbytes)
    setup.episodes("validation", "other", range(9, 12), 2)
    setup.episodes("validation", "other", [11, 10], 2)
    assert len(drawn) == 14 + 3
    setup.episodes("validation", "other", [9], 2)
    assert len(drawn) == 14 + 4
    alone = tiny_setup().episodes("validation", "other", [9, 11], 2)
    assert same(setup.episodes("validation", "other", [9, 11], 2), alone)
    assert len(drawn) == 18 + 3  # two of them by the other set-up


def test_tasks_go_with_their_set_up() -> None:
    """In a circle they would stay until Python looks for circles: four set-ups of an evaluation took 90 MB each."""
    setup = tiny_setup()
    setup.episodes("validation", "search", range(4), 2)
    setup.episodes("train", "tasks", range(3), 2, 0)
    gone = weakref.ref(setup.episodes)
    gc.disable()
    try:
        del setup
        assert gone() is None
    finally:
        gc.enable()


def test_what_it_prepares_is_drawn_no_more() -> None:
    """A worker that has waited gives its next tasks at once; with a thread that draws ahead nobody else prepares."""
    setup = attrs.evolve(tiny_setup(), tasks=(counted := Counted()))
    assert not setup.prepare()  # before any training
    setup.episodes("train", "tasks", range(3), 2, 0)
    while setup.prepare():
        pass
    drawn = counted.drawn
    assert same(
        setup.episodes("train", "tasks", range(3), 2, 1), tiny_setup().episodes("train", "tasks", range(3), 2, 1)
    )
    assert drawn == counted.drawn
    threaded = attrs.evolve(setup, prefetch=True)
    threaded.episodes("train", "tasks", range(3), 2, 0)
    assert not threaded.prepare()


def test_a_pickled_set_up_draws_the_same_and_carries_no_data() -> None:
    setup = tiny_setup()
    drawn = setup.episodes("train", "tasks", range(50), 2)
    assert setup.supernet is setup.supernet
    content = pickle.dumps(setup)
    assert len(content) < 20_000 < drawn.support_x.numel() * 4
    again = pickle.loads(content)  # noqa: S301
    assert same(again.episodes("train", "tasks", range(50), 2), drawn)
    assert list(again.supernet.roles) == list(setup.supernet.roles)


def test_the_super_net_is_made_before_workers_make_theirs() -> None:
    """What it compiles is compiled once; what it has to say about that is said by the driver, not by every worker."""
    setup = tiny_setup()
    with InProcess() as executor:
        setup.send(executor)
        assert "supernet" in vars(setup)
        assert executor.map(lambda values, _: values["setup"], [0]) == [setup]


def test_alone_it_is_the_architectures_own_network() -> None:
    setup = tiny_setup()
    arch = setup.space.architecture(depth=1, kernel1=3, scale1=0.5)
    assert setup.supernet
    alone = attrs.evolve(setup, alone=arch)
    assert isinstance(alone.supernet, SubNet)
    assert list(alone.supernet.roles) == ["conv1.weight", "norm1.weight", "norm1.bias", "fc.weight", "fc.bias"]
    assert not isinstance(setup.supernet, SubNet)


def test_a_missing_compiler_is_told_once_by_the_driver(tmp_path: Path) -> None:
    """In a run with workers, which alone compute; the plain path then trains."""
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(Path(tiny_tasks.__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from tiny_tasks import tiny_setup\n"
        "from hnas_app.executors.local_processes import LocalProcesses\n"
        "from hnas_app.training.outer_loop import TrainPlan, train\n"
        "if __name__ == '__main__':\n"
        "    setup = tiny_setup()\n"
        "    with LocalProcesses(2) as workers:\n"
        "        train(setup, TrainPlan(epochs=1, iterations=2, tasks=2, n_query=1),\n"
        "              lambda p: [setup.space.largest()],\n"
        f"              workers, phase='meta-train', folder=Path({str(tmp_path / 'run')!r}), emit=lambda e: None,\n"
        "              start=lambda: setup.learner.init(setup.supernet, setup.seeds.torch('init')))\n"
        "    print('trained')\n"
    )
    script = tmp_path / "driver.py"
    script.write_text(code)
    environment = {k: v for k, v in os.environ.items() if k not in ("CC", "HNAS_ENGINE")}
    environment |= {"PATH": "", "HNAS_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "trained\n", done.stderr
    assert done.stderr.count("no C compiler was found") == 1
    assert done.stderr.count("\n") == 1
