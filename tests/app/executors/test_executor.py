"""Workers: values and order, errors with their traceback, deaths survived, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import executor_work as work
import pytest
import torch

from hnas.errors import ConfigError, DataError, HnasError, PluginError
from hnas_app.cli import run
from hnas_app.config.schema import Config
from hnas_app.executors.choice import check_executor, executor
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.executors.interruption import SIGNALS
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.executors.threads import Threads


class Pool(LocalProcesses):
    """Two workers that keep what they tell."""

    def __init__(self) -> None:
        self.told: list[str] = []
        super().__init__(2, self.told.append)

    @property
    def pids(self) -> list[int]:
        return [w.process.pid or 0 for w in self._workers]


@pytest.fixture(scope="module")
def shared() -> Iterator[Pool]:
    """One pool for all tests: a worker takes a second to start."""
    with Pool() as pool:
        yield pool


@pytest.fixture
def pool(shared: Pool) -> Pool:
    shared.told.clear()
    return shared


@pytest.fixture(params=["in process", "threads", "local processes"])
def either(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param != "local processes":
        with InProcess() if request.param == "in process" else Threads(2) as here:
            yield here
    else:
        yield request.getfixturevalue("pool")


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody asked about (a zombie) does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_results_come_in_the_order_of_the_items(either: Executor) -> None:
    assert either.map(work.double, range(7)) == [0, 2, 4, 6, 8, 10, 12]
    assert either.map(work.double, []) == []
    assert sorted(either.map_unordered(work.double, [5, 6, 7])) == [(0, 10), (1, 12), (2, 14)]


def test_sums_are_by_name_and_the_rest_stays_apart(either: Executor) -> None:
    """A network that lacks a layer adds nothing to its gradient."""
    sums, rests = either.map_sum(work.parts, [{"a": 1.0}, {"a": 2.0, "b": 5.0}, {}])
    assert {name: (value.tolist(), value.dtype.name) for name, value in sums.items()} == {
        "a": ([3.0, 3.0], "float32"),
        "b": ([5.0, 5.0], "float32"),
    }
    assert rests == [1, 2, 0]
    assert either.map_sum(work.parts, []) == ({}, [])


def test_a_sum_of_numbers_without_dimensions_is_an_array(either: Executor) -> None:
    """Of two numpy scalars it would be another scalar, which torch does not take."""
    sums, _ = either.map_sum(work.scalars, [1.0, 2.0])
    assert torch.from_numpy(sums["a"]).item() == 3.0


def test_a_slow_item_does_not_hold_the_others_up(pool: Pool) -> None:
    """The costliest architecture is sent first, so that workers end together."""
    pool.map(work.double, range(2))  # both have started
    first = list(pool.map_unordered(work.sleep, [0.6, 0.0, 0.01, 0.02]))
    assert [index for index, _ in first] == [1, 2, 3, 0]
    assert len({pid for _, (_, pid) in first}) == 2


def test_workers_have_the_latest_values(either: Executor) -> None:
    """Weights of an earlier iteration would train on without a trace."""
    either.put(weights=1, other="kept")
    assert either.map(work.look, ["weights"] * 3) == [1, 1, 1]
    either.put(weights=2)
    assert either.map(work.look, ["weights", "other", "weights", "nothing"]) == [2, "kept", 2, None]


def test_a_value_is_sent_once_to_each_worker(pool: Pool) -> None:
    """A set-up with its data would otherwise cross the pipe for every item."""
    value = work.Counted()
    before = work.Counted.pickled
    for _ in range(3):
        pool.put(counted=value)
        pool.map(work.double, range(6))
    assert work.Counted.pickled - before == 2
    pool.put(counted=None)


def test_an_exception_is_raised_here(either: Executor) -> None:
    with pytest.raises(ValueError, match="nothing doing with stones") as caught:
        either.map(work.fail, ["stones"])
    if isinstance(either, LocalProcesses):
        (note,) = caught.value.__notes__
        assert "in a worker process" in note
        assert 'executor_work.py", line' in note
        assert "in fail" in note
    assert either.map(work.double, [1]) == [2]


def test_an_error_for_the_user_keeps_its_hint(either: Executor) -> None:
    """The command line prints message and hint, and exits with the class's code."""
    with pytest.raises(DataError, match="omniglot is damaged") as caught:
        either.map(work.fail_for_the_user, ["omniglot"])
    assert caught.value.hint == "fetch it again"


def test_what_cannot_cross_the_pipe_is_told_as_text(pool: Pool) -> None:
    """An error of a third party's, or a result, that does not pickle: once a dead worker, three times over."""
    with pytest.raises(RuntimeError, match="Awkward: stones: too awkward") as caught:
        pool.map(work.fail_awkwardly, ["stones"])
    assert "in fail_awkwardly" in caught.value.__notes__[0]
    with pytest.raises(Exception, match=r"(?i)pickle.*return_a_function|return_a_function.*pickle|local object"):
        pool.map(work.return_a_function, [1])
    with pytest.raises(Exception, match=r"(?i)pickle|local object"):
        pool.map(lambda values, item: item, [1])
    assert pool.map(work.double, [1, 2]) == [2, 4]
    assert pool.told == []


def test_a_worker_that_waits_lets_values_prepare(pool: Pool) -> None:
    """Until they say that nothing is left; work that comes meanwhile does not wait for all of it."""
    pool.put(readying=work.Readying(3))
    assert [done for done, _ in pool.map(work.prepared, [0, 1])] == [0, 0]
    deadline = time.monotonic() + 20
    while (found := [done for done, _ in pool.map(work.prepared, [0, 1])]) != [3, 3] and time.monotonic() < deadline:
        pass
    assert found == [3, 3]
    pool.put(readying=work.Readying(1 << 60))
    assert max(done for _ in range(2) for done, _ in pool.map(work.prepared, [0, 1])) < 1 << 30


def test_a_worker_begins_with_items_of_the_same_place(pool: Pool) -> None:
    """So that what it has prepared is what it is asked for."""
    pool.put(readying=work.Readying(0))
    orders = [(1, 9), (9, 1), (2, 7), (8, 3)]
    low = {
        min(zip(order, pool.map(work.prepared, list(map(work.Placed, order))), strict=True))[1][1] for order in orders
    }
    high = {
        max(zip(order, pool.map(work.prepared, list(map(work.Placed, order))), strict=True))[1][1] for order in orders
    }
    assert len(low) == len(high) == 1
    assert low != high


def test_a_worker_that_is_killed_is_restarted_and_its_work_repeated(pool: Pool, tmp_path: Path) -> None:
    """As the kernel does when memory is short. The new worker has the values, too."""
    pool.put(weights=3)
    flag = str(tmp_path / "died")
    assert pool.map(work.die_once, [(flag, 1), (flag, 2), (flag, 3), (flag, 4)]) == [1, 2, 3, 4]
    assert len(pool.told) in (1, 2)  # both may have started before the flag was there
    assert all(text == "a worker process died (exit code -9); restarted, its work is repeated" for text in pool.told)
    assert pool.map(work.look, ["weights"] * 4) == [3] * 4


def test_a_worker_that_dies_between_two_maps_is_restarted(pool: Pool) -> None:
    pool.map(work.double, range(4))
    victim = pool.pids[0]
    os.kill(victim, signal.SIGKILL)
    while is_running(victim):
        time.sleep(0.01)
    assert pool.map(work.double, range(4)) == [0, 2, 4, 6]
    assert len(pool.told) == 1
    assert victim not in pool.pids


@pytest.mark.parametrize(("item", "code", "hint"), [("signal", -9, "more memory"), ("exit", 3, "message stands above")])
def test_an_item_that_always_kills_is_named(pool: Pool, item: str, code: int, hint: str) -> None:
    """It would otherwise restart workers for ever."""
    with pytest.raises(HnasError) as caught:
        pool.map(work.die_of, ["fine", item])
    assert str(caught.value) == f"a worker process died 3 times (exit code {code}) on the same item: {item!r}"
    assert hint in (caught.value.hint or "")
    assert len(pool.told) == 2
    assert pool.map(work.die_of, ["fine", "too"]) == ["fine", "too"]


def test_an_iteration_that_is_left_early_leaves_no_stale_answers(pool: Pool) -> None:
    """Left by an exception the iteration lives on in its traceback; its answers must not pass for another's."""
    left = pool.map_unordered(work.sleep, [0.0, 30.0, 30.0])
    assert next(left)[0] == 0
    assert pool.map(work.double, [4, 5]) == [8, 10]
    with pytest.raises(RuntimeError, match="after another map"):
        next(left)
    assert pool.map(work.double, [6]) == [12]
    for index, _ in pool.map_unordered(work.sleep, [0.0, 30.0]):
        assert index == 0
        break
    assert pool.map(work.double, [7, 8]) == [14, 16]


def test_each_thread_has_its_own_values() -> None:
    """A set-up remembers the last tasks it drew, a learner what it likes: without locks, as in processes."""
    shared = work.Counter()
    with Threads(2) as threads:
        threads.put(counter=shared)
        counts = threads.map(work.count_slowly, range(6))
        assert shared.count == 0
        assert sorted(counts) == [(thread, n) for thread, most in _most(counts).items() for n in range(1, most + 1)]
        assert len(_most(counts)) == 2
        threads.put(counter=shared)
        assert sorted(threads.map(work.count_slowly, range(2)))[-1][1] > 1, "the same value was copied again"
        threads.put(counter=work.Counter())
        assert threads.map(work.count_slowly, [0])[0][1] == 1


def _most(counts: list[tuple[int, int]]) -> dict[int, int]:
    return {thread: max(n for t, n in counts if t == thread) for thread in sorted({t for t, _ in counts})}


def test_threads_drop_what_nobody_waits_for_any_more() -> None:
    """A search that ends by an error would otherwise score a whole generation before it is told."""
    with Threads(2) as threads:
        started = time.monotonic()
        left = threads.map_unordered(work.sleep, [0.0, *[1.0] * 40])
        assert next(left)[0] == 0
        time.sleep(0.05)
        with pytest.raises(ValueError, match="stones"):
            list(threads.map_unordered(work.fail_or_sleep, ["stones", *[1.0] * 40]))
        with pytest.raises(RuntimeError, match="after another map"):
            next(left)
        assert threads.map(work.double, [6]) == [12]
    assert time.monotonic() - started < 15, "80 items of a second on two threads take 40"


def test_threads_compute_on_one_thread_each_which_is_undone() -> None:
    """Two that compute on two threads each hold each other up."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Threads(2) as threads:
            assert {told["threads"] for told in threads.map(work.process, range(4))} == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_workers_compute_on_one_thread_each_and_wait_passively(pool: Pool) -> None:
    """Spinning threads on a busy machine are 30 times slower. This process keeps its own environment."""
    before = dict(os.environ)
    for told in pool.map(work.process, range(2)):
        assert told["pid"] != os.getpid()
        assert told["threads"] == 1
        assert told["OMP_WAIT_POLICY"] == os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
    assert dict(os.environ) == before


def test_workers_have_one_thread_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's OMP_NUM_THREADS is for other programs; with it a machine would run workers × threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with LocalProcesses(1) as pool:
        (told,) = pool.map(work.process, [0])
    assert (told["threads"], told["OMP_NUM_THREADS"], told["OMP_WAIT_POLICY"]) == (1, "1", "ACTIVE")
    assert os.environ["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize(
    ("item", "error", "text"),
    [("sys.exit", PluginError, "executor_work (.*) tried to end the program: SystemExit: 0"),
     ("end of file", EOFError, "of the file that the item reads")],
)  # fmt: skip
def test_work_that_ends_its_process_is_an_error(pool: Pool, item: str, error: type[Exception], text: str) -> None:
    """Both looked like the death of a worker, which was restarted three times."""
    with pytest.raises(error, match=text):
        pool.map(work.die_of, [item])
    assert pool.told == []


def test_a_machine_gets_a_few_workers_for_each_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--workers 40` on 2 cores took the memory of 40; a container may use fewer cores than its machine has."""
    told: list[str] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    for quota, cores in ((tmp_path / "missing", 3), (tmp_path / "cpu.max", 2)):
        monkeypatch.setattr("hnas.toolkit.cores.QUOTA", quota)
        assert [executor(n, told.append, "processes").size for n in (0, 5, 4 * cores, 40)] == [
            cores,
            5,
            4 * cores,
            4 * cores,
        ]
    assert told[0] == "workers is 40, but this machine gives 3 cores: 12 are started, 4 a core"
    assert len(told) == 2


@pytest.mark.parametrize("sent", SIGNALS)
def test_signals_are_the_drivers_to_answer(pool: Pool, sent: int) -> None:
    """Ctrl-C and a job's end reach every process; workers that died of it would be restarted while the driver ends."""
    pool.map(work.double, range(4))
    for pid in pool.pids:
        os.kill(pid, sent)
    assert pool.map(work.double, range(4)) == [0, 2, 4, 6]
    assert pool.told == []


def test_close_leaves_no_processes(pool: Pool) -> None:
    """Idle or busy. Runs last: it ends the pool that the other tests share; another map would start it again."""
    pool.map(work.double, range(4))
    busy = pool.map_unordered(work.sleep, [0.0, 60.0])
    next(busy)
    pids = pool.pids
    assert len(pids) == 2
    assert all(is_running(pid) for pid in pids)
    pool.close()
    assert not any(is_running(pid) for pid in pids)
    with pytest.raises(RuntimeError, match="after another map"):
        next(busy)
    assert pool.pids == []


@pytest.mark.parametrize("busy", [False, True])
def test_workers_end_when_the_driver_is_killed(busy: bool, tmp_path: Path) -> None:
    """A killed run must not leave processes that hold gigabytes, nor ones that go on with an item for minutes."""
    work_on = "threading.Thread(target=lambda: pool.map(executor_work.sleep, [300]), daemon=True).start()"
    code = (
        "import os, signal, sys, threading, time\n"
        f"sys.path.insert(0, {str(Path(work.__file__).parent)!r})\n"
        "import executor_work\n"
        "from hnas_app.executors.local_processes import LocalProcesses\n"
        "if __name__ == '__main__':\n"
        "    pool = LocalProcesses(1)\n"
        "    print(pool.map(executor_work.process, [0])[0]['pid'], flush=True)\n"
        f"    {work_on if busy else 'pass'}\n"
        "    time.sleep(0.5)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    script = tmp_path / "driver.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    end = time.monotonic() + 20
    while is_running(int(done.stdout)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_running(int(done.stdout))


def test_in_process_work_runs_on_one_thread_which_is_undone() -> None:
    """Results must not depend on where the work runs; and the user's own torch code not on a run before it."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with InProcess() as alone:
            assert alone.map(work.process, [0])[0]["threads"] == 1
            assert alone.size == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_default_executor_has_a_worker_per_usable_core() -> None:
    with executor(1) as one:
        assert isinstance(one, InProcess)
    assert executor(3).size == 3
    assert executor(0).size == len(os.sched_getaffinity(0))


def test_an_executor_is_chosen_by_name() -> None:
    """`processes` are processes even where there is one: a crash in C then does not take the run along."""
    with executor(1, kind="threads") as threads, executor(1, kind="processes") as processes:
        assert (type(threads), threads.size) == (Threads, 1)
        assert (type(processes), processes.size) == (LocalProcesses, 1)
    for good in ("local", "threads", "processes", "ray", "ray://head:10001", "ray://10.0.0.1:10001"):
        assert Config(executor=good).executor == good
    for bad in ("", "thread", "ray:", "ray://head", "ray://head:port", "dask"):
        with pytest.raises(ValueError, match="expected local, threads, processes, ray or ray://HOST:PORT, got"):
            Config(executor=bad)


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ModuleNotFoundError would leave the user to find out."""
    monkeypatch.setitem(sys.modules, "ray", None)  # what an import of a missing module sees
    with pytest.raises(ConfigError, match="--executor ray needs Ray") as caught:
        executor(2, kind="ray")
    assert caught.value.hint == "pip install 'hnas[ray]'"
    with pytest.raises(ConfigError, match="--executor ray needs Ray"):
        check_executor("ray://head:10001", "cpu")
    with pytest.raises(ConfigError, match="executor is 'ray' and accelerator 'cuda', but Ray workers compute on CPUs"):
        check_executor("ray", "cuda")
    check_executor("threads", "cuda")


def test_a_run_without_ray_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run directory that was made in vain would be listed, and in the way of the next try."""
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(["meta-train", "--executor", "ray", "--run-dir", str(tmp_path / "run")]) == 3
    assert "pip install 'hnas[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
