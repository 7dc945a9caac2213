"""A real Ray cluster on loopback: a head, and machines that can be killed; run as a program, it tells what it saw.

Ray listens on all interfaces and takes the address of a network card where it finds one. So this runs in namespaces of
its own, in which there is nothing but loopback, and in which everything that it started ends with it:

    unshare -rnpf --mount-proc --kill-child python ray_bed.py FOLDER SHORT_FOLDER

What it saw goes into the first folder. In the second Ray keeps its sockets, whose names must not be long.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import executor_work as work
from tiny_tasks import tiny_setup

import hnas
from hnas.cost import Cost
from hnas.errors import HnasError
from hnas.strategy import Ask, Scored
from hnas_app.config.schema import SearchConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor, Work
from hnas_app.executors.ray_cluster import RayCluster
from hnas_app.search import score_store
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.score_store import ScoreStore
from hnas_app.training.setup.setup import to_workers

ADDRESS = "127.0.0.1:26379"
CLIENT = "ray://127.0.0.1:26001"
STORE = str(80 << 20)  # the least that Ray takes


def bring_loopback_up() -> None:
    """A new network namespace has it, but down."""
    with socket.socket() as any_socket:
        up, running = 0x1, 0x40
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", up | running))  # SIOCSIFFLAGS


def start_node(*options: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start Ray on one more "machine": a process, and all that it starts."""
    ray = str(Path(sys.executable).with_name("ray"))
    own = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120",
    }
    given = ["--block", "--node-ip-address=127.0.0.1", f"--object-store-memory={STORE}", "--disable-usage-stats"]
    log = (Path(sys.argv[1]) / f"node-{time.monotonic_ns()}.log").open("wb")
    return subprocess.Popen(
        [ray, "start", *given, *options],
        env={**os.environ, **own, **environment},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )


def start_worker(**environment: str) -> subprocess.Popen[bytes]:
    return start_node(f"--address={ADDRESS}", "--num-cpus=1", **environment)


def kill(node: subprocess.Popen[bytes]) -> None:
    """End a machine as a power cut does: all that runs on it at once, workers in the middle of an item too."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    doomed = [node.pid]
    for pid in doomed:  # grows meanwhile
        doomed += [child for child, parent in parents.items() if parent == pid]
    for pid in doomed:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    node.wait()


def wait_for_cpus(count: int) -> None:
    import ray

    end = time.monotonic() + 240
    while (found := ray.cluster_resources().get("CPU", 0)) != count:
        if time.monotonic() > end:
            raise TimeoutError(f"the cluster has {found} CPUs, not {count}")
        time.sleep(0.1)


def joined(address: str, head: subprocess.Popen[bytes], **options: Any) -> RayCluster:
    """Join the cluster as soon as it answers; on a busy machine its server for clients now and then fails at first."""
    end = time.monotonic() + 240
    while True:
        try:
            return RayCluster(address, **options)
        except HnasError:
            if time.monotonic() > end or head.poll() is not None:
                raise
            time.sleep(0.5)


class Interrupted(Executor):
    """Passes everything on, makes each item a second long, and does something in the middle of the second map."""

    def __init__(self, inner: Executor, act: Callable[[], None]) -> None:
        self.inner, self.act, self.size, self.maps = inner, act, inner.size, 0

    def put(self, **values: Any) -> None:
        self.inner.put(**values)

    def map_unordered(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        self.maps += 1
        for n, found in enumerate(self.inner.map_unordered(slow_score, items)):
            if (self.maps, n) == (2, 1):
                threading.Timer(0.5, self.act).start()  # both machines are at work again by then
            yield found

    def close(self) -> None: ...


def slow_score(values: Mapping[str, Any], item: Any) -> Any:
    time.sleep(1.0)
    return score_store._score(values, item)


def generations(executor: Executor) -> list[Scored]:
    """Return the scores of two generations of 8 networks."""
    setup = tiny_setup()
    config = SearchConfig(tasks=3, pool=8, n_query=2)
    scores = ScoreStore(setup=setup, executor=executor, config=config)
    evaluator = Evaluator(scores=scores, cost=lambda arch: Cost(values={"macs": float(setup.work.macs(arch))}))
    scores.start(setup.learner.init(setup.supernet, setup.seeds.torch("init")))
    generator = setup.seeds.numpy("bed")
    found: list[Scored] = []
    for iteration in range(2):
        archs = tuple(setup.space.sample(generator) for _ in range(8))
        found += evaluator(iteration, Ask(architectures=archs))
    return found


def writable(executor: Executor) -> list[Any]:
    """Return what a sum of one array, and of two, has at its start after a write to it."""
    found = [executor.map_sum(work.ones, items)[0]["ones"] for items in ([3], [3, 4])]
    for array in found:
        array[0] += 0.5
    return [array[:2].tolist() for array in found]


def failed(call: Callable[[], object]) -> dict[str, Any]:
    """Return the error that a call ends with."""
    try:
        return {"returned": repr(call())}
    except Exception as error:
        hint = error.hint if isinstance(error, HnasError) else None
        notes = getattr(error, "__notes__", [])
        return {"error": type(error).__name__, "text": str(error), "hint": hint, "notes": notes}


def other_version(folder: Path) -> str:
    """Return the folder of an hnas that calls itself 0.0.1."""
    copy = folder / "other"
    shutil.copytree(Path(hnas.__file__).parent, copy / "hnas", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "hnas" / "_version.py").write_text('__version__ = "0.0.1"\n')
    return str(copy)


def see(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield what is seen, step by step."""
    yield "no cluster", failed(lambda: RayCluster())
    told: list[str] = []
    head = start_node(
        "--head", "--num-cpus=0", "--port=26379", "--include-dashboard=false", "--ray-client-server-port=26001",
        f"--temp-dir={sys.argv[2]}",
    )  # fmt: skip
    cluster = joined(ADDRESS, head, workers=2, notify=told.append)
    yield "no cpus", failed(lambda: RayCluster(ADDRESS))
    machines = []
    for count in (1, 2):  # together they would take the same socket, since they are one machine after all
        machines.append(start_worker())
        wait_for_cpus(count)
    yield "order", cluster.map(work.double, range(7))
    cluster.put(weights=1, other="kept")
    first = cluster.map(work.look, ["weights"] * 3)
    cluster.put(weights=2)
    yield "values", [first, cluster.map(work.look, ["weights", "other", "weights", "nothing"])]
    value, before = work.Counted(), work.Counted.pickled
    for _ in range(3):
        cluster.put(counted=value)
        cluster.map(work.double, range(4))
    yield "pickled", work.Counted.pickled - before
    cluster.put(counted=None)
    yield "environment", cluster.map(work.process, [0])[0]
    yield "writable", writable(cluster)
    yield "error", failed(lambda: cluster.map(work.fail_for_the_user, ["omniglot"]))
    yield "plain error", failed(lambda: cluster.map(work.fail, ["stones"]))
    flag = str(folder / "died")
    yield "died once", [cluster.map(work.die_once, [(flag, i) for i in range(4)]), list(told)]
    told.clear()
    yield "always dies", [failed(lambda: cluster.map(work.die_of, ["signal"])), list(told)]
    left = cluster.map_unordered(work.sleep, [0.0, 60.0])
    index, _ = next(left)
    yield "after an early end", [index, cluster.map(work.double, [4, 5])]

    with InProcess() as here:
        expected = generations(here)
    while len({pid for _, pid in cluster.map(work.sleep, [0.5] * 4)}) < 2:
        pass  # until there is a worker process on both machines
    told.clear()
    killing = Interrupted(cluster, lambda: kill(machines[0]))
    found = generations(killing)
    yield "machine killed", {"same": found == expected, "scored": len(found), "told": list(told), "maps": killing.maps}
    machines[0] = start_worker(PYTHONPATH=os.pathsep.join([other_version(folder), os.environ["PYTHONPATH"]]))
    wait_for_cpus(2)
    kill(machines[1])
    wait_for_cpus(1)
    yield "other version", failed(lambda: cluster.map(work.double, [1]))
    cluster.close()

    machines[1] = start_worker()
    with joined(CLIENT, head, workers=1) as client:
        kill(machines[0])
        wait_for_cpus(1)
        state = tiny_setup().learner.init(tiny_setup().supernet, tiny_setup().seeds.torch("init"))
        client.put(state=to_workers(state), weights=5)
        yield "client", [client.size, client.map(work.double, [1, 2, 3]), client.map(work.look, ["weights"])]


def main() -> None:
    bring_loopback_up()
    folder = Path(sys.argv[1])
    seen = {}
    try:
        for name, value in see(folder):
            seen[name] = value
            print(f"{time.monotonic():.0f} {name}: {value}", flush=True)
    finally:
        (folder / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
