"""A connection that is lost in mid-profile: cut, or frozen without a word. Nothing is measured twice, nothing hangs."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

import pytest
from arm_bed import CuttableProxy

from hnas import DeviceError, Layer
from hnas_backends.arm import Arm, ArmOptions, backend, ssh
from hnas_backends.layerbench.session import Session

pytestmark = pytest.mark.ssh
LAYERS = [
    Layer(op="conv2d", in_shape=(3, 8, 8), out_shape=(c, 8, 8), kernel=3, stride=1, padding=1) for c in range(1, 13)
]


class Recorded(Session):
    """The real session, and what was asked of each."""

    asked: ClassVar[list[list[str]]] = []

    def run(self, specs):
        self.asked.append(list(specs))
        return super().run(specs)


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setattr(Recorded, "asked", [])
    monkeypatch.setattr(backend, "Session", Recorded)
    return Recorded.asked


def make(device, slept):
    options = ArmOptions(device=device, samples=3, sample_ms=10.0, warmup_ms=1.0)
    return Arm(options, sleep=slept.append)


def test_a_cut_link_is_made_again_and_only_what_is_missing_is_sent(pi, name_device, asked):
    slept: list[float] = []
    with CuttableProxy(pi.port) as proxy:
        arm = make(name_device(pi.client(port=proxy.port)), slept)
        rows = []
        for costs in arm.measure(LAYERS):
            rows.append(costs["latency"])
            if len(rows) in (4, 8):
                proxy.cut()
        arm.close()
    assert len(rows) == len(LAYERS)
    assert slept == [1, 1]
    assert len(asked[0]) == 12
    # Up to two more rows were on their way when it was cut.
    assert 12 - 4 - 2 <= len(asked[1]) <= 12 - 4
    assert asked[1] == asked[0][-len(asked[1]) :]


def test_a_board_that_stays_away_is_given_up_after_five_tries(pi, name_device):
    slept: list[float] = []
    with CuttableProxy(pi.port) as proxy:
        arm = make(name_device(pi.client(port=proxy.port)), slept)
        rows = arm.measure(LAYERS)
        got = [next(rows)]
        proxy.cut(down=True)
        with pytest.raises(DeviceError, match="the connection was lost, and 5 tries to connect again failed") as error:
            got += rows
        assert slept == [1, 2, 4, 8, 16]
        assert "the same command goes on" in str(error.value.hint)
        proxy.cut()
        assert len(list(arm.measure(LAYERS[:1]))) == 1  # it is back
        arm.close()


def test_a_frozen_link_ends_by_itself_and_the_lost_program_makes_room(pi, name_device, asked, monkeypatch):
    """ssh says nothing for ever without its own pulse; the program left behind holds the lock and goes on measuring."""
    assert "ServerAliveInterval=2" in ssh.OPTIONS
    faster = tuple(o.replace("ServerAliveInterval=2", "ServerAliveInterval=1") for o in ssh.OPTIONS)
    monkeypatch.setattr(ssh, "OPTIONS", faster)
    slept: list[float] = []
    with CuttableProxy(pi.port) as proxy:
        arm = make(name_device(pi.client(port=proxy.port)), slept)
        rows = []
        for costs in arm.measure(LAYERS):
            rows.append(costs["latency"])
            if len(rows) == 3:
                proxy.freeze()
                threading.Timer(1.5, proxy.thaw).start()  # for new connections
        arm.close()
    assert len(rows) == len(LAYERS)
    assert len(slept) >= 1
    assert len(asked) >= 2


def test_a_program_that_ended_for_want_of_work_is_started_again(pi, name_device):
    """The core cools the board between blocks for longer than the program waits."""
    arm = Arm(ArmOptions(device=name_device(pi.client()), samples=3, sample_ms=0.1, warmup_ms=1.0, idle_s=1))
    assert len(list(arm.measure(LAYERS[:2]))) == 2
    time.sleep(1.6)
    assert len(list(arm.measure(LAYERS[2:4]))) == 2
    arm.close()


def test_a_board_that_was_started_anew_gets_its_program_again(pi, name_device):
    """/tmp and /dev/shm are empty after a restart."""
    arm = Arm(ArmOptions(device=name_device(pi.client()), samples=3, sample_ms=0.1, warmup_ms=1.0))
    arm.describe()
    for name in pi.files():
        (pi.root / name).unlink()
    assert len(list(arm.measure(LAYERS[:2]))) == 2
    arm.close()
