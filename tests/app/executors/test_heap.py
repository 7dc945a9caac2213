"""Free memory goes back to the system when a process has grown much, and not before."""

from __future__ import annotations

import sys

import pytest
from executor_work import crumble

from hnas_app.executors import heap
from hnas_app.executors.heap import GROWTH_BYTES, settle_heap
from hnas_app.executors.local_processes import LocalProcesses


def test_it_is_given_back_when_a_process_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    """By as much as it grew over the first work after the last time: networks that need more do not count each time."""
    resident, trimmed = [0], list[int]()
    monkeypatch.setattr(heap, "_needed", None)
    monkeypatch.setattr(heap, "_resident", lambda: resident[0])
    monkeypatch.setattr(heap, "_trim", lambda: trimmed.append)

    def after(*sizes: int) -> int:
        for resident[0] in sizes:
            settle_heap()
        return len(trimmed)

    assert after(100, 50, 100 + GROWTH_BYTES) == 0
    assert after(101 + GROWTH_BYTES) == 1
    assert after(3 * GROWTH_BYTES, 4 * GROWTH_BYTES) == 1
    assert after(4 * GROWTH_BYTES + 1) == 2
    monkeypatch.setattr(heap, "_trim", lambda: None)
    assert after(100 * GROWTH_BYTES, 200 * GROWTH_BYTES) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of glibc")
def test_a_worker_does_not_grow_by_what_it_freed() -> None:
    """Each piece of work frees 200 MB between bytes that stay, in blocks that fit into no earlier gap."""
    with LocalProcesses(1) as pool:
        resident = pool.map(crumble, [10 + i for i in range(8)])
    assert max(resident) - resident[0] < 320e6  # kept, it is 417 MB


def test_one_system_has_no_such_call(monkeypatch: pytest.MonkeyPatch) -> None:
    heap._trim.cache_clear()
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    assert heap._trim() is None
    heap._trim.cache_clear()
