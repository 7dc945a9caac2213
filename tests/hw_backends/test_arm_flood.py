"""A board that answers without end, or nonsense: an error that names it, and memory stays flat. No ssh is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hnas import ConfigError, DeviceError
from hnas.toolkit.devices import DeviceBook
from hnas_backends.arm.preflight import parse
from hnas_backends.arm.probe import probe
from hnas_backends.arm.ssh import Ssh, Target
from hnas_backends.layerbench.lines import Hello, Row
from hnas_backends.layerbench.session import Session

FLOODS = ["cat /dev/zero", "yes", "cat /dev/zero >&2"]
RSS = """
import os, re, sys
from hnas import DeviceError
from hnas_backends.arm.options import ArmOptions
from hnas_backends.arm.backend import Arm
from hnas_backends.layerbench.session import Session
def mb():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
before = mb()
for work in (lambda: Arm(ArmOptions(device="pi@board")).describe(), lambda: list(Session(["ssh"]).run(["x"]))):
    try:
        work()
    except DeviceError as error:
        print(error)
print(mb() - before)
"""


@pytest.fixture
def fake_ssh(tmp_path, monkeypatch):
    """Return a function that makes a script the ssh of this test."""

    def make(script: str) -> None:
        (tmp_path / "ssh").write_text(f'#!/bin/sh\ncase "$*" in *"-O exit"*) exit;; esac\n{script}\n')
        (tmp_path / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "home"))
    return make


def looked_at() -> None:
    with Ssh(Target(name="pi4", address="pi@board")) as ssh:
        probe(ssh)


@pytest.mark.parametrize("flood", FLOODS)
def test_a_board_without_end_is_named(flood, fake_ssh):
    fake_ssh(f"exec {flood}")
    with pytest.raises(DeviceError, match="pi4 answered without end: it wrote more than 1 MiB, beginning with b'"):
        looked_at()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat(fake_ssh):
    """3 GB in 21 s, before."""
    fake_ssh("exec cat /dev/zero")
    done = subprocess.run([sys.executable, "-c", RSS], capture_output=True, text=True, check=True, timeout=60)
    asked, measured, grown = done.stdout.splitlines()
    assert "pi@board answered without end" in asked
    assert "writes without end" in measured
    assert float(grown) < 40


@pytest.mark.parametrize("flood", ["cat /dev/zero", "yes '{}'"])
def test_a_runner_without_end_is_ended(flood):
    """Lines without end are an error already by what they say; one line without end has no end to wait for."""
    with Session(["sh", "-c", f"exec {flood}"], name="the board") as session:
        with pytest.raises(DeviceError, match=r"the board writes without end.*x00|no answer"):
            list(session.run(["x"]))
        session._process.wait(10)  # killed, not left to fill a pipe for ever


@pytest.mark.parametrize("cpus", ["lots", "-1", "0", "٣", "²", "9" * 50, "1e3", "4 4"])
def test_a_count_of_processors_that_is_none_names_board_and_key(cpus, fake_ssh):
    fake_ssh(f'echo machine=armv7l; echo bits=32; echo "cpus={cpus}"')
    with pytest.raises(DeviceError, match=r"pi4 answered cpus='.*expected a whole number of processors"):
        looked_at()


@pytest.mark.parametrize("answer", ["", "\x1b[31mhello", "machine", "machine=", "cpus=4"])
def test_a_board_that_does_not_say_what_it_is(answer, fake_ssh):
    fake_ssh(f"printf '{answer}'")
    with pytest.raises(DeviceError, match="pi4 did not say what it is") as caught:
        looked_at()
    assert "\x1b" not in str(caught.value)


HELLO = (
    '{"protocol":1,"kernel":"8x8","compiler":"c","system":"s","model":"m","cpu_part":"","cpus":4,"cpu":3,"ram_kb":1,'
    '"governor":"","khz":null,"khz_max":null,"temp_mc":null,"throttled":null,"load":0.5,"clock_step_ns":1,"word_bits":32}'
)
ROW = (
    '{"id":"r0","out":[1,1,1],"sum":0,"abs":0,"mix":0,"first":0,"last":0,"inner":1,"nivcsw":0,"majflt":0,'
    '"cpu":null,"khz":null,"temp_mc":null,"throttled":null,"ns":[5]}'
)


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (Hello, '"cpus":4', '"cpus":"lots"'),
        (Hello, '"cpus":4', '"cpus":true'),
        (Hello, '"cpus":4', '"cpus":' + "9" * 400),
        (Hello, '"cpus":4', '"cpus":' + "9" * 5000),
        (Hello, '"load":0.5', '"load":Infinity'),
        (Hello, '"load":0.5', '"load":' + "9" * 400),
        (Hello, '"model":"m"', '"model":["m"]'),
        (Hello, '"model":"m"', '"model":"' + "m" * 1000 + '"'),
        (Row, '"ns":[5]', '"ns":[' + "9" * 400 + "]"),
        (Row, '"ns":[5]', '"ns":[5.5]'),
        (Row, '"ns":[5]', '"ns":[-5]'),
        (Row, '"ns":[5]', '"ns":["٣"]'),
        (Row, '"ns":[5]', '"ns":5'),
        (Row, '"sum":0', '"sum":NaN'),
        (Row, '"sum":0', '"sum":1e999'),
        (Row, '"inner":1', '"inner":0'),
    ],
)
def test_an_answer_of_another_shape_is_no_answer(kind, right, wrong):
    line = HELLO if kind is Hello else ROW
    kind.parse(line)
    assert right in line
    with pytest.raises(DeviceError, match="no answer") as caught:
        kind.parse(line.replace(right, wrong))
    assert len(str(caught.value)) < 500


def test_bits_of_another_length_are_not_read():
    assert parse("throttled=0x" + "5" * 5000) is None
    assert parse("throttled=0x٣") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("port", v) for v in ("lots", -1, 1e999, float("nan"), True, 70_000, "٣", 22.5)),
        *(("address", v) for v in (5, True, "a\0b")),
        ("identity", 1.5),
        ("identity", "a\0b"),
        ("ssh_config", False),
    ],
)
def test_a_setting_of_another_shape_names_file_device_and_key(key, value, tmp_path, monkeypatch):
    """Edited by hand; it was an unexpected ValueError."""
    monkeypatch.setenv("HNAS_HOME", str(tmp_path))
    content = {"backend": "arm", "settings": {"address": "pi@board", key: value}}
    (tmp_path / "devices.json").write_text(json.dumps({"schema": 1, "devices": {"pi4": content}}))
    with pytest.raises(
        ConfigError, match=f"the {key} of the device 'pi4' is .*expected (text|a whole number)"
    ) as caught:
        Target.of(DeviceBook().get("pi4"))
    assert str(tmp_path / "devices.json") in str(caught.value.hint)
