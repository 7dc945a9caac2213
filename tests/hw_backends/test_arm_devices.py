"""`hnas devices` for boards over ssh, on the command line and against a real server."""

from __future__ import annotations

import json
import sys
import types
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from typer.testing import CliRunner

from hnas import ConfigError, DeviceError, Plugin, Registry, hookimpl
from hnas.toolkit.devices import DeviceBook
from hnas_app.cli.commands.devices import app
from hnas_app.cli.invocation import Invocation
from hnas_backends.arm import host_keys
from hnas_backends.arm.ssh import Target

pytestmark = pytest.mark.ssh


@pytest.fixture
def hnas(own_home, monkeypatch):
    """Run `hnas devices` with a registry that knows the backend `arm` only."""
    module: Any = types.ModuleType("hnas_backends_arm_only")
    plugin = Plugin(
        name="arm",
        summary="boards",
        factory="hnas_backends.arm:Arm",
        options="hnas_backends.arm:ArmOptions",
        devices="hnas_backends.arm:ArmDevices",
    )
    module.hnas_backends = hookimpl(lambda: [plugin])
    module.hnas_backends.__name__ = "hnas_backends"
    monkeypatch.setitem(sys.modules, "hnas_backends_arm_only", module)
    invocation = Invocation()
    invocation.registry = Registry([EntryPoint("arm", "hnas_backends_arm_only", "hnas")])  # type: ignore[misc]
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words], obj=invocation)


def test_a_board_is_added_checked_and_removed(pi, hnas):
    client = pi.client()
    done = hnas("add", "zero", client.alias, "--ssh-config", client.config, "--host-key", client.fingerprint)
    assert done.exit_code == 0, done.output
    assert "next: hnas devices check zero" in done.stderr
    target = Target.of(DeviceBook().get("zero"))
    assert host_keys.kept(target).fingerprint == client.fingerprint
    facts = json.loads(hnas("check", "zero", "--json").stdout)
    assert facts["device"] == "Raspberry Pi Zero W Rev 1.1"
    assert (facts["machine"], facts["word_bits"], facts["throttled"]) == ("armv6l", 32, "0x0")
    assert hnas("remove", "zero", "--yes").exit_code == 0
    assert DeviceBook().all() == []
    assert host_keys.kept(target) is None


def test_adding_logs_nobody_in(host_sshd, hnas):
    """A name and a key may be tried on a stranger only after its key was agreed to."""
    client, log = host_sshd.client(), host_sshd.work / "sshd.log"
    before = log.stat().st_size
    done = hnas("add", "box", "127.0.0.1", "--ssh-config", "/dev/null", "--port", client.port, "--yes")
    assert done.exit_code == 0, done.output
    assert f"The host key of 127.0.0.1 is {client.fingerprint} (ssh-ed25519). Is that box? yes" in done.stderr
    assert b"Accepted" not in log.read_bytes()[before:]
    assert DeviceBook().get("box").settings["port"] == client.port


def test_nothing_is_kept_of_a_board_whose_key_was_not_agreed_to(host_sshd, hnas):
    client = host_sshd.client()
    wrong = hnas("add", "box", client.alias, "--ssh-config", client.config, "--host-key", "SHA256:" + "A" * 43)
    assert isinstance(wrong.exception, DeviceError)
    assert f"is {client.fingerprint} (ssh-ed25519), not SHA256:AAA" in str(wrong.exception)
    unanswered = hnas("add", "box", client.alias, "--ssh-config", client.config)
    assert isinstance(unanswered.exception, ConfigError)
    odd = hnas("add", "box", client.alias, "--ssh-config", client.config, "--host-key", "MD5:00")
    assert "no fingerprint" in str(odd.exception)
    option = hnas("add", "box", "--", "-oProxyCommand=touch /tmp/x")
    assert "no address" in str(option.exception)
    assert DeviceBook().all() == []
    assert not (host_keys.known_hosts()).exists()
