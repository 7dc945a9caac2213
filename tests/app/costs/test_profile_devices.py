"""Profiles of several devices: in turn where they keep the same machine busy, at the same time where not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hnas import DeviceError, DeviceInfo, HardwareBackend, Layer, Measurement, Metric
from hnas.cost import LayerCosts
from hnas.events import Event
from hnas_app.cli import run
from hnas_app.costs.description import described
from hnas_app.costs.profile import profile
from hnas_app.costs.profile_devices import profile_devices
from hnas_app.costs.store import CostStore

SHAPE = (1, 8, 8)


class Board(HardwareBackend):
    """A device whose latency is a layer's MACs in ns; it notes when it was at work, and may act before a layer."""

    def __init__(self, name: str, slot: str | None, *, before: Callable[[int], None] = lambda nth: None) -> None:
        self.name, self._slot, self._before = name, slot, before
        self.at_work: list[float] = []
        self.threads: set[int] = set()
        self.closed = 0

    def slot(self) -> str:
        return super().slot() if self._slot is None else self._slot

    def describe(self) -> DeviceInfo:
        self.at_work.append(time.monotonic())
        return DeviceInfo(backend="board", device=self.name, runtime="1", metrics=(Metric(name="latency", unit="ms"),))

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        for nth, layer in enumerate(layers):
            self._before(nth)
            self.threads.add(threading.get_ident())
            self.at_work.append(time.monotonic())
            yield {"latency": Measurement(median=1e-6 * layer.macs, unit="ms")}

    def close(self) -> None:
        self.closed += 1


def measure(backends: dict[str, Any], space: Any, store: Path, emit: Callable[[Event], None]) -> dict[str, Any]:
    return profile_devices(backends, space, SHAPE, 2, open_store=lambda: CostStore(store), emit=emit)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "costs.sqlite3"


def test_devices_wait_for_their_slot_only(make_tiny_space: Any, store: Path) -> None:
    """Two boards that are measured at the same time meet half-way; two that share one would measure each other."""
    meeting = threading.Barrier(2, timeout=20)

    def meet(nth: int) -> None:
        if nth == 3:
            meeting.wait()

    space = make_tiny_space(depth=2)
    one, other = Board("one", "a", before=meet), Board("other", "b", before=meet)
    here = [Board("here", None), Board("here too", None)]
    boards = {b.name: b for b in (one, here[0], other, here[1])}
    events: list[Event] = []
    tables = measure(boards, space, store, events.append)
    assert list(tables) == ["one", "here", "other", "here too"]
    assert one.threads.isdisjoint(other.threads)
    first, second = sorted((b.at_work for b in here), key=min)
    assert max(first) < min(second)
    assert [b.closed for b in boards.values()] == [1, 1, 1, 1]
    assert {e.phase for e in events} == {f"profile {name}" for name in boards}
    alone = profile(Board("one", "a"), space, SHAPE, 2, store=None, emit=lambda event: None)
    assert tables["one"].rows == alone.rows
    again = Board("one", "a")
    assert measure({"one": again}, space, store, events.append)["one"].rows == alone.rows
    assert again.threads == set(), "what was measured was not kept"


def test_a_device_that_fails_does_not_stop_the_others(make_tiny_space: Any, store: Path) -> None:
    """A board that is unplugged at night must not cost what another would have measured until the morning."""

    def fail(nth: int) -> None:
        if nth == 2:
            raise DeviceError("unplugged", hint="plug it in")

    space = make_tiny_space(depth=2)
    good, bad, worse = Board("good", "a"), Board("bad", "a", before=fail), Board("worse", "b", before=fail)
    with pytest.raises(DeviceError, match="unplugged") as caught:
        measure({"bad": bad, "good": good}, space, store, lambda event: None)
    assert caught.value.hint == "plug it in"
    with CostStore(store) as kept:
        assert len(kept.load(described(good))) == len(space.distinct_layers(SHAPE, 2))
        assert len(kept.load(described(bad))) == 2
    with pytest.raises(DeviceError, match="2 of 2 devices failed:\nbad: unplugged\nworse: unplugged"):
        measure({"bad": bad, "worse": worse}, space, store, lambda event: None)
    assert (bad.closed, worse.closed, good.closed) == (2, 1, 1)


def test_an_interruption_ends_all_soon(make_tiny_space: Any, store: Path) -> None:
    """Ctrl-C: threads cannot be killed, and one of them would measure for hours before the prompt is back."""

    def interrupt(nth: int) -> None:
        if nth == 1:
            raise KeyboardInterrupt

    slow = Board("slow", "b", before=lambda nth: time.sleep(0.2))
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        measure({"stopped": Board("stopped", "a", before=interrupt), "slow": slow}, make_tiny_space(), store, print)
    assert time.monotonic() - started < 4
    assert slow.closed == 1


def test_several_backends_on_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gets what it gets alone; two of them are models, which compute here in turn, and one is a file."""
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "home"))
    common = ["profile", "--input", "1x8x8", "--n-way", "2", "--set", "space.base_width=4"]
    assert run([*common, "--backend", "eyeriss", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert run(["profile", "export", str(tmp_path / "eyeriss.json"), "--backend", "eyeriss"]) == 0
    capsys.readouterr()
    names = ["eyeriss", "eyeriss-rs", f"table:{tmp_path / 'eyeriss.json'}"]
    several = [*common, *(word for name in names for word in ("--backend", name))]
    assert run([*several, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == names
    assert found["eyeriss"]["layers"] == found[names[2]]["layers"] == alone["layers"]
    assert found["eyeriss-rs"]["layers"] != alone["layers"]
    assert run(several) == 0
    told = capsys.readouterr()
    assert [line.split()[0] for line in told.out.splitlines()] == ["BACKEND", *names]
    assert told.err.splitlines()[-1].startswith("next: hnas profile")
    assert run([*common, "--backend", "eyeriss", "--backend", "eyeriss"]) == 2
    assert "the same one twice" in capsys.readouterr().err
    assert run([*several, "--device", "pi4"]) == 2
    assert run([*several, "--dry-run"]) == 2
