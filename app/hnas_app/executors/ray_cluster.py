"""Work on the machines of a Ray cluster, by the extra ``hnas[ray]``."""

from __future__ import annotations

import copy
import importlib
import os
import platform
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hnas._version import __version__
from hnas.errors import ConfigError, HnasError
from hnas_app.executors.bookkeeping import ATTEMPTS, MEMORY_HINT, Turns, Values, given_up
from hnas_app.executors.environment import worker_environment
from hnas_app.executors.heap import settle_heap
from hnas_app.executors.interface import Executor, Work
from hnas_app.executors.interruption import handlers_kept
from hnas_app.executors.pipes import portable

PASSED_ON = ("HNAS_ENGINE",)
"""Of the driver's environment what results depend on."""


class RayCluster(Executor):
    """Worker processes wherever Ray has CPUs, one for each item and one intra-op thread each.

    Values are put into Ray's object store once, and each worker process keeps them while their versions hold. An item
    whose worker or machine dies is done again, and ``notify`` told so; one that `ATTEMPTS` workers die of is an error
    that names it. (Ray's own retries would do the same in silence, and name nothing.)

    Ray pickles between processes that trust each other: whoever reaches the cluster's ports can run code in it.

    ``address`` is what ``ray.init`` takes: ``auto`` for the cluster that this machine is part of, or ``ray://host:port``
    from outside. ``workers`` is how many items may run at the same time, 0 for one per CPU of the cluster. Raises
    `ConfigError` without Ray, without a cluster, or with one of other versions of Ray or Python.
    """

    def __init__(self, address: str = "auto", workers: int = 0, notify: Callable[[str], None] | None = None) -> None:
        self._ray = imported()
        self._notify = notify or (lambda text: print(text, file=sys.stderr))
        self._token = secrets.token_hex(8)
        self._values = Values()
        self._objects: dict[str, Any] = {}
        self._running: dict[Any, int] = {}
        self._turns = Turns(self._drop)
        self._connected = not self._ray.is_initialized()
        if self._connected:
            _connect(self._ray, address)
        self.size = workers or int(self._ray.cluster_resources().get("CPU", 0))
        if not self.size:
            self.close()
            raise ConfigError(
                f"the Ray cluster at {address} has no CPUs for work",
                hint="start workers, `ray start --address=HOST:PORT`, or say with --workers how many will come",
            )
        self._task = self._ray.remote(num_cpus=1, max_retries=0)(_work)

    def put(self, **values: Any) -> None:
        self._objects |= {name: self._ray.put(value) for name, value in self._values.put(values).items()}

    def map_unordered(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        return self._turns.take(self._results(work, items))

    def _results(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        waiting = list(range(len(items)))[::-1]
        deaths: Counter[int] = Counter()
        while waiting or self._running:
            while waiting and len(self._running) < self.size:
                index = waiting.pop()
                self._running[self._submit(work, items[index])] = index
            (ready,), _ = self._ray.wait(list(self._running), num_returns=1)
            index = self._running.pop(ready)
            try:
                failure, result = copy.deepcopy(self._ray.get(ready))  # arrays lie in memory that is shared
            except self._ray.exceptions.RayTaskError as error:  # it could not begin, or not send back its result
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise HnasError(
                    f"a Ray worker could not do its work: {lines[-1]}",
                    hint="hnas and its plugins must be installed on every machine of the cluster, in the same versions",
                ) from error
            except self._ray.exceptions.RayError as error:
                how = type(error).__name__
                deaths[index] += 1
                if deaths[index] >= ATTEMPTS:
                    raise given_up(items[index], how, MEMORY_HINT) from error
                self._notify(f"a Ray worker died ({how}); its work is repeated")
                waiting.append(index)
                continue
            if failure:
                raise result
            yield index, result

    def close(self) -> None:
        """Leave the cluster, where this executor has joined it; the cluster goes on."""
        if self._ray.is_initialized():
            self._turns.end()
            if self._connected:
                self._ray.shutdown()

    def _submit(self, work: Work, item: Any) -> Any:
        versions = self._values.versions()
        objects = {name: (versions[name], found) for name, found in self._objects.items()}
        return self._task.remote(_versions(), self._token, objects, work, item)

    def _drop(self) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running = {}


_HELD: dict[tuple[str, str], tuple[int, Any]] = {}
"""In a worker: the values of each executor by name, with their versions."""


def _work(
    driver: Mapping[str, str], token: str, objects: Mapping[str, tuple[int, Any]], work: Work, item: Any
) -> tuple[bool, Any]:
    """Run in a worker: fetch what values it lacks, and return (whether the work failed, its result or the error)."""
    try:
        if (here := _versions()) != driver:
            told, expected = (", ".join(f"{name} {v}" for name, v in known.items()) for known in (here, driver))
            raise ConfigError(
                f"a Ray worker on {platform.node()} has {told}, the driver {expected}",
                hint="install the same versions on every machine of the cluster",
            )
        ray = imported()
        for name, (version, found) in objects.items():
            if _HELD.get((token, name), (0, None))[0] != version:
                _HELD[token, name] = (version, copy.deepcopy(ray.get(found)))
        return False, work({name: _HELD[token, name][1] for name in objects}, item)
    except BaseException as error:
        return True, portable(error)
    finally:
        settle_heap()


def _versions() -> dict[str, str]:
    import torch

    return {"hnas": __version__, "torch": torch.__version__.partition("+")[0], "Python": platform.python_version()}


def imported() -> Any:
    """Return the package ``ray``. Raises `ConfigError` where it is not installed."""
    try:
        with handlers_kept():
            return importlib.import_module("ray")
    except ModuleNotFoundError as cause:
        raise ConfigError(f"--executor ray needs Ray: {cause}", hint="pip install 'hnas[ray]'") from cause


def _connect(ray: Any, address: str) -> None:
    """Join the cluster. Raises `ConfigError` if there is none, or one of other versions."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    given: dict[str, Any] = {"runtime_env": {"env_vars": worker_environment() | passed_on}}
    if not address.startswith("ray://"):
        given |= {"include_dashboard": False, "logging_level": "warning"}
    try:
        with handlers_kept():
            ray.init(address=address, **given)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as cause:
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        text = " ".join(line.strip() for line in lines)
        hint = "start one with `ray start --head`, or give its address, as in --executor ray://HOST:10001"
        if "ersion mismatch" in text:
            hint = "install the same versions of Ray and Python on every machine of the cluster"
        raise ConfigError(f"cannot join the Ray cluster at {address}: {text}", hint=hint) from cause
