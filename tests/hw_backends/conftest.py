"""What the tests of hardware backends share: stand-in boards, see `arm_bed`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from arm_bed import Client, FakePi, HostSshd

from hnas.toolkit.devices import Device, DeviceBook
from hnas_backends.arm import ArmDevices


@pytest.fixture(scope="session")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, FakePi]]:
    """The boards that were started in this session, by kind."""
    started: dict[str, FakePi] = {}
    yield started
    for board in started.values():
        board.__exit__()


@pytest.fixture
def make_pi(boards: dict[str, FakePi], tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Return a function that gives the board of a kind, started at first use and fresh for each test."""

    def make(kind: str) -> FakePi:
        if kind not in boards:
            boards[kind] = FakePi(kind, tmp_path_factory.mktemp(kind) / "work").__enter__()
        boards[kind].reset()
        return boards[kind]

    yield make
    for board in boards.values():
        board.reset()


@pytest.fixture
def pi(make_pi) -> FakePi:  # type: ignore[no-untyped-def]
    """A Raspberry Pi Zero."""
    found: FakePi = make_pi("pizero")
    return found


@pytest.fixture(scope="session")
def host_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostSshd]:
    """This machine by its own sshd."""
    with HostSshd(tmp_path_factory.mktemp("host-sshd") / "work", forwarding=True) as server:
        yield server


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of hnas's for this test alone, with a blank in its name, as some have."""
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "hnas home"))
    return tmp_path / "hnas home"


@pytest.fixture
def name_device(own_home: Path) -> Callable[..., str]:
    """Return a function that gives a board a name, as `hnas devices add` does, and returns that name."""

    def add(client: Client, name: str = "board") -> str:
        settings = ArmDevices().add(name, client.alias, client.flags, lambda question: False)
        DeviceBook().remove(name)
        DeviceBook().add(Device(name=name, backend="arm", settings=settings))
        return name

    return add
