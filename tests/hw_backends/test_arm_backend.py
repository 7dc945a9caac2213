"""The ARM backend against stand-in boards: rows, refusals, and boards that misbehave."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from arm_bed import roots

from hnas import ConfigError, DeviceError, Layer, UnsteadyError
from hnas.toolkit.devices import Device, DeviceBook
from hnas_backends.arm import Arm, ArmOptions
from hnas_backends.arm.backend import target

QUICK = {"samples": 3, "sample_ms": 0.1, "warmup_ms": 1.0}
NETWORK = [
    Layer(op="conv2d", in_shape=(3, 9, 9), out_shape=(8, 5, 5), kernel=3, stride=2, padding=1, bias=True),
    Layer(op="norm", in_shape=(8, 5, 5), out_shape=(8, 5, 5)),
    Layer(op="relu", in_shape=(8, 5, 5), out_shape=(8, 5, 5)),
    Layer(op="max_pool", in_shape=(8, 5, 5), out_shape=(8, 2, 2), kernel=2, stride=2),
    Layer(op="linear", in_shape=(32, 1, 1), out_shape=(5, 1, 1), bias=True),
]

CELL = [
    Layer(op="conv2d", in_shape=(3, 9, 9), out_shape=(8, 9, 9), kernel=3, padding=1),
    Layer(op="conv2d", in_shape=(8, 9, 9), out_shape=(8, 9, 9), kernel=3, padding=2, dilation=2, groups=8),
    Layer(op="conv2d", in_shape=(8, 9, 9), out_shape=(16, 9, 9), kernel=3, padding=3, dilation=3, groups=8, reads=(2,)),
    Layer(op="concat", in_shape=(24, 9, 9), out_shape=(24, 9, 9), reads=(1, 2)),
    Layer(op="max_pool", in_shape=(24, 9, 9), out_shape=(24, 3, 3), kernel=3, stride=2, dilation=2),
    Layer(op="linear", in_shape=(216, 1, 1), out_shape=(5, 1, 1)),
]
"""Dilated, depth-wise and joined layers."""


@contextmanager
def arm(device: str, **options: object) -> Iterator[Arm]:
    backend = Arm(ArmOptions(device=device, **{**QUICK, **options}), sleep=lambda seconds: None)
    try:
        yield backend
    finally:
        backend.close()


@pytest.mark.ssh
@pytest.mark.parametrize(
    ("kind", "runtime", "bits", "kernel"),
    [("pizero", "armv6", 32, "4x4 scalar"), ("pi4-32", "armv7", 32, "4x8 neon"), ("pi4", "aarch64", 64, "8x8 neon")],
)
def test_a_profile_on_each_kind_of_board(kind, runtime, bits, kernel, make_pi, name_device):
    """The wrong program for a board: SIGILL on a Zero, or numbers of another instruction set."""
    board = make_pi(kind)
    with arm(name_device(board.client())) as backend:
        info = backend.describe()
        assert info.device == roots.KINDS[kind].model
        assert info.runtime.endswith(runtime)
        assert info.settings["word_bits"] == bits
        assert info.settings["kernel"] == kernel
        assert info.settings["cpu_part"] == roots.KINDS[kind].part
        assert info.rounds is not None
        assert info.conditions["temp_c"] == 48.312
        assert info.conditions["warnings"] == []
        costs = [c["latency"] for c in backend.measure(NETWORK)]  # each is checked against numpy on the way
        assert len(costs) == len(NETWORK)
        assert all(c.unit == "ms" and c.n == 3 and len(c.samples) == 3 and c.median > 0 for c in costs)
        whole = backend.measure_network(NETWORK)
        assert whole is not None
        assert whole["latency"].median > 0
        assert len(list(backend.measure(CELL))) == len(CELL)
        assert backend.measure_network(CELL) is not None
        assert backend.measure_network([NETWORK[0], NETWORK[4]]) is None  # no network
        fingerprint = info.fingerprint
    assert len([f for f in board.files() if "layerbench-" in f]) == 1
    with arm("board", flush_mb=1) as other:
        assert other.describe().fingerprint != fingerprint


@pytest.mark.ssh
def test_throttling_in_mid_run_voids_what_is_measured(pi, name_device):
    """Rows of a hot board are two times too slow, and nobody would see it in the table."""
    with arm(name_device(pi.client())) as backend:
        rows = backend.measure(NETWORK * 3)
        next(rows)
        pi.throttle(0x50005)
        with pytest.raises(UnsteadyError, match=r"board slowed down now: under-voltage, it throttles.*0x50005"):
            list(rows)
        pi.throttle(0x50000)  # it is over; the board remembers, but that is no news any more
        assert len(list(backend.measure(NETWORK))) == len(NETWORK)
        pi.throttle(0x70000)  # between two looks
        with pytest.raises(UnsteadyError, match="a moment ago: its clock is capped"):
            list(backend.measure(NETWORK))


@pytest.mark.ssh
def test_a_board_without_that_sensor_is_asked_by_vcgencmd(pi, name_device):
    """Older kernels do not have the file; the last row must not be given away before the question."""
    (pi.root / roots.THROTTLED).unlink()
    with arm(name_device(pi.client())) as backend:
        assert backend.describe().conditions["throttled"] == "0x0"
        rows = backend.measure(NETWORK[:2])
        next(rows)
        pi.write("etc/throttled", "throttled=0x4\n")
        with pytest.raises(UnsteadyError, match="it throttles"):
            next(rows)


@pytest.mark.ssh
def test_preflight_refuses_a_loaded_board_and_warns_of_its_governor(pi, name_device):
    pi.write("proc/loadavg", "99.00 1.00 1.00 9/99 1\n")
    for core in range(64):
        if (pi.root / roots.CPUFREQ.format(core)).is_dir():
            pi.write(f"{roots.CPUFREQ.format(core)}/scaling_governor", "ondemand\n")
    device = name_device(pi.client())
    try:
        with arm(device) as backend, pytest.raises(DeviceError, match=r"board is busy: its load is 99\.00") as error:
            backend.describe()
        assert "backend.force=true" in str(error.value.hint)
        with arm(device, force=True) as backend:
            warnings = backend.describe().conditions["warnings"]
        assert [w.partition(" is ")[0] for w in warnings] == ["the governor", "the load"]
    finally:
        for core in range(64):
            if (pi.root / roots.CPUFREQ.format(core)).is_dir():
                pi.write(f"{roots.CPUFREQ.format(core)}/scaling_governor", "performance\n")


@pytest.mark.ssh
def test_a_second_client_is_told_that_the_board_is_busy(pi, name_device):
    """Two profiles at once would measure each other."""
    device = name_device(pi.client())
    with arm(device) as first, arm(device) as second:
        next(rows := first.measure(NETWORK))
        with pytest.raises(DeviceError, match=r"board: the device is busy: another profile measures on it"):
            list(second.measure(NETWORK))
        assert len(list(rows)) == len(NETWORK) - 1
    with arm(device) as third:  # the lock went away with its holder
        assert len(list(third.measure(NETWORK[:1]))) == 1


@pytest.mark.ssh
def test_a_board_that_lies_is_refused(pi, name_device):
    """A program that computes something else is fast, and its times mean nothing."""
    with arm(name_device(pi.client())) as backend:
        backend.describe()
        (program,) = (pi.root / f for f in pi.files() if "layerbench-" in f)
        shutil.copy2(program, pi.root / "pi/true")
        size = program.stat().st_size
        # It says 7 for the first value of every result.
        lie = 'while read -r l; do echo "${l%%\\"first\\":*}\\"first\\":7,\\"true\\":${l#*\\"first\\":}"; done'
        script = f'#!/bin/sh\n/pi/true "$@" | {lie}\n'
        pi.write(str(program.relative_to(pi.root)), script + "#" * (size - len(script)), program=True)
        rows = backend.measure(NETWORK)
        with pytest.raises(DeviceError, match=r"the device computed something else for conv2d-3x9x9.*'first'"):
            list(rows)


@pytest.mark.ssh
def test_the_wrong_word_size_is_told(pi, name_device):
    with arm(name_device(pi.client()), build="aarch64") as backend, pytest.raises(DeviceError, match="wrong word size"):
        backend.describe()
    with arm("board", build="armv7") as backend, pytest.raises(DeviceError, match="without NEON"):
        backend.describe()
    assert pi.files() == []


@pytest.mark.ssh
def test_a_machine_that_is_not_arm_is_told(host_sshd, name_device):
    with (
        arm(name_device(host_sshd.client(), "laptop")) as backend,
        pytest.raises(DeviceError, match="laptop is not an ARM") as error,
    ):
        backend.describe()
    assert error.value.exit_code == 6


def test_an_unknown_device_gets_close_matches_and_the_next_step(own_home):
    DeviceBook().add(Device(name="kitchen-pi", backend="arm", settings={"address": "pi@10.0.0.9"}))
    DeviceBook().add(Device(name="gpu-box", backend="other", settings={}))
    with pytest.raises(DeviceError, match=r"unknown device 'kitchen-pie'\. Did you mean 'kitchen-pi'\?") as error:
        target(ArmOptions(device="kitchen-pie"))
    assert error.value.hint is not None
    assert error.value.hint.endswith("add one: hnas devices add kitchen-pie USER@HOST")
    with pytest.raises(DeviceError, match="which device"):
        target(ArmOptions())
    with pytest.raises(DeviceError, match="of backend other"):
        target(ArmOptions(device="gpu-box"))
    raw = target(ArmOptions(device="pi@10.0.0.7", ssh_config="/c"))
    assert (raw.address, raw.known, raw.ssh_config) == ("pi@10.0.0.7", False, "/c")
    for bad in ("-oProxyCommand=x@y", "a@-b", "a b@c", "a@b;c", "$(x)@y"):
        with pytest.raises(ConfigError, match="no address"):
            target(ArmOptions(device=bad))


def test_options_are_checked():
    for name, value in itertools.chain({"samples": 0, "build": "mips", "flush_mb": -1, "cpu": -2, "idle_s": 0}.items()):
        with pytest.raises(ValueError, match=name):
            ArmOptions(**{name: value})
