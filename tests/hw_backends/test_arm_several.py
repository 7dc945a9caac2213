"""Several stand-in boards at the same time, and the same board twice."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hnas.events import Event
from hnas_app.costs.profile_devices import profile_devices
from hnas_app.costs.store import CostStore
from hnas_backends.arm import Arm, ArmOptions

QUICK = {"samples": 3, "sample_ms": 0.1, "warmup_ms": 1.0, "force": True}


@pytest.mark.ssh
@pytest.mark.slow
def test_boards_are_measured_side_by_side(make_pi, name_device, make_tiny_space, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Each over its own connection: rows of one must not come to the other, nor wait for it."""
    names = [name_device(make_pi(kind).client(), kind) for kind in ("pizero", "pi4")]
    boards = {name: Arm(ArmOptions(device=name, **QUICK), sleep=lambda seconds: None) for name in names}
    assert len({board.slot() for board in boards.values()}) == 2
    assert Arm(ArmOptions(device=names[0], samples=5)).slot() == boards[names[0]].slot()
    space, events, threads = make_tiny_space(depth=1, widths=(2, 4)), [], set()

    def emit(event: Event) -> None:
        events.append((event.phase, event.kind))
        threads.add(threading.get_ident())

    tables = profile_devices(
        boards, space, (1, 8, 8), 2, open_store=lambda: CostStore(tmp_path / "costs.sqlite3"), emit=emit
    )
    layers = {layer.key for layer in space.distinct_layers((1, 8, 8), 2)}
    assert [table.info.runtime.split()[-1] for table in tables.values()] == ["armv6", "aarch64"]
    assert all(table.rows.keys() == layers for table in tables.values())
    assert len(threads) == 2
    begun = [events.index((f"profile {name}", "start")) for name in names]
    ended = [events.index((f"profile {name}", "end")) for name in names]
    assert max(begun) < min(ended), "one after the other"
