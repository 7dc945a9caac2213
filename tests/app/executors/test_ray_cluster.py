"""Ray: a real head and two machines on loopback, one of which is killed in mid-generation; nothing is lost."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray_bed

Seen = Callable[[str], Any]

pytestmark = pytest.mark.slow


def missing() -> str:
    """Return what this machine lacks for the bed, or nothing."""
    if importlib.util.find_spec("ray") is None:
        return "ray is not installed: pip install 'hnas[ray]'"
    if shutil.which("unshare") is None:
        return "unshare not found: apt-get install util-linux"
    probe = subprocess.run(["unshare", "-rnpf", "--mount-proc", "true"], capture_output=True, text=True)
    return f"no namespaces for a cluster of its own: {probe.stderr.strip()}" if probe.returncode else ""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, hnas_home: Path) -> Seen:
    """Run the bed once, and return a function that tells what it saw in a step."""
    if reason := missing():
        if os.environ.get("HNAS_REQUIRE_TOOLS") == "1":
            pytest.fail(f"{reason}, and HNAS_REQUIRE_TOOLS=1", pytrace=False)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("bed")
    here = str(Path(ray_bed.__file__).parent)
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as sockets:
        bed = [sys.executable, ray_bed.__file__, str(folder), sockets]
        done = subprocess.run(
            ["unshare", "-rnpf", "--mount-proc", "--kill-child", *bed],
            env={**os.environ, "PYTHONPATH": here, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
            capture_output=True,
            text=True,
            timeout=900,
        )
    found = json.loads((folder / "seen.json").read_text()) if (folder / "seen.json").exists() else {}

    def step(name: str) -> Any:
        if name not in found:
            pytest.fail(f"the bed ended before {name!r}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}", pytrace=False)
        return found[name]

    return step


def test_a_machine_that_dies_in_mid_generation_changes_nothing(seen: Seen) -> None:
    """Two generations of 8 networks: the scores of this process, to the last bit, and the user is told of the death."""
    found = seen("machine killed")
    assert found["same"]
    assert (found["scored"], found["maps"]) == (16, 2)
    assert len(found["told"]) >= 1
    assert all(text.startswith("a Ray worker died (") and text.endswith("is repeated") for text in found["told"])


def test_it_does_what_every_executor_does(seen: Seen) -> None:
    """The order of results, the latest values, values sent once, arrays that may be written to."""
    assert seen("order") == [0, 2, 4, 6, 8, 10, 12]
    assert seen("values") == [[1, 1, 1], [2, "kept", 2, None]]
    assert seen("pickled") == 1
    assert seen("writable") == [[3.5, 3.0], [7.5, 7.0]]
    assert seen("after an early end") == [0, [8, 10]]


def test_workers_have_one_thread_and_wait_passively(seen: Seen) -> None:
    """A machine of the cluster would run as many threads as it has cores, for each of its cores."""
    told = seen("environment")
    assert told["threads"] == 1
    assert (told["OMP_NUM_THREADS"], told["MKL_NUM_THREADS"], told["OMP_WAIT_POLICY"]) == ("1", "1", "PASSIVE")


def test_errors_come_back_with_their_hint_and_their_traceback(seen: Seen) -> None:
    told = seen("error")
    assert (told["error"], told["text"], told["hint"]) == ("DataError", "omniglot is damaged", "fetch it again")
    assert "in fail_for_the_user" in told["notes"][0]
    assert seen("plain error")["error"] == "ValueError"


def test_an_item_that_kills_its_worker_is_repeated_and_then_named(seen: Seen) -> None:
    """Ray alone would try it again in silence, and then tell only that a task failed."""
    results, told = seen("died once")
    assert results == [0, 1, 2, 3]
    assert 1 <= len(told) <= 2  # both may have begun before the flag was there
    failure, told = seen("always dies")
    assert failure["text"] == "a worker process died 3 times (WorkerCrashedError) on the same item: 'signal'"
    assert "more memory" in failure["hint"]
    assert len(told) == 2


def test_a_cluster_that_does_not_fit_is_refused_in_a_sentence(seen: Seen) -> None:
    """None at all, none with CPUs, and one with another hnas, whose scores could be others."""
    told = seen("no cluster")
    assert (told["error"], "ray start --head" in told["hint"]) == ("ConfigError", True)
    assert told["text"].startswith("cannot join the Ray cluster at auto: ")
    told = seen("no cpus")
    assert (told["error"], "has no CPUs" in told["text"]) == ("ConfigError", True)
    told = seen("other version")
    assert told["error"] == "ConfigError"
    assert "has hnas 0.0.1, " in told["text"]
    assert told["hint"] == "install the same versions on every machine of the cluster"


def test_a_cluster_is_reached_from_outside(seen: Seen) -> None:
    """By `ray://HOST:PORT`: from a laptop that is no part of it."""
    assert seen("client") == [1, [2, 4, 6], [5]]
