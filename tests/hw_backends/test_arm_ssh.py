"""OpenSSH's client as hnas runs it: a user's configuration works, strangers are refused, failures have their words."""

from __future__ import annotations

import shutil
import socket
import stat
from pathlib import Path

import attrs
import pytest
from arm_bed.host_sshd import HostSshd, free_port, make_key

from hnas import DeviceError
from hnas.toolkit.devices import Device
from hnas_backends.arm import host_keys
from hnas_backends.arm import ssh as ssh_module
from hnas_backends.arm.host_keys import HostKey
from hnas_backends.arm.link_error import FINAL, LinkError, cause_of
from hnas_backends.arm.ssh import Ssh, Target

pytestmark = pytest.mark.ssh


def target_of(client, **changes) -> Target:
    settings = {"address": client.alias, "ssh_config": str(client.config)}
    return attrs.evolve(Target.of(Device(name="board", backend="arm", settings=settings)), **changes)


@pytest.fixture
def board(host_sshd, own_home) -> Target:
    """This machine, with its host key learnt."""
    target = target_of(host_sshd.client())
    host_keys.keep(target, host_keys.learn(target))
    return target


def refusal(target: Target) -> LinkError:
    with Ssh(target) as ssh, pytest.raises(LinkError) as error:
        ssh.run(["true"])
    assert error.value.exit_code == 6
    assert error.value.hint
    return error.value


def test_words_arrive_as_they_are(board):
    """A word that a shell there took apart would run as a command."""
    words = ["it's", 'a "b"', "$HOME; touch /tmp/hnas-owned", "`id`", "*", "ä\tö", ""]
    with Ssh(board) as ssh:
        answer = ssh.run(["printf", "%s|", *words])
        assert answer.out == "|".join(words) + "|"
        assert ssh.script('printf %s "$2$1"; cat; echo no >&2; exit 7', "a b", "$x", stdin=b" in").out == "$xa b in"
        answer = ssh.script("echo no >&2; exit 7")
        assert (answer.status, answer.err) == (7, "no\n")


def test_one_connection_is_shared_and_its_folder_is_private_and_goes_away(board):
    with Ssh(board) as ssh:
        ssh.run(["true"])
        folder = Path(ssh._folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert (folder / "s").is_socket()
        first = ssh.script("echo $PPID").out
        assert ssh.script("echo $PPID").out == first
        ssh.drop()
        assert ssh.script("echo $PPID").out != first
    assert not folder.exists()


def test_include_alias_and_proxy_jump_of_the_users_configuration_work(board, host_sshd, own_home, tmp_path):
    """Many boards are behind another machine; paramiko knows neither Include nor ProxyJump."""
    with HostSshd(tmp_path / "jump", alias="jump", forwarding=True) as jump:
        fragment = jump.client(name="fragment").config
        known = tmp_path / "known_hosts"
        key = (jump.work / "host_key.pub").read_text().split()
        known.write_text(f"[127.0.0.1]:{jump.port} {key[0]} {key[1]}\n")
        fragment.write_text(fragment.read_text().replace("/dev/null", str(known)))
        config = tmp_path / "config"
        config.write_text(
            f"Include {fragment}\nHost far\n  ProxyJump jump\n"
            + host_sshd.client().config.read_text().replace("Host host", "Host far garage")
            + "  RemoteCommand false\n  RequestTTY force\n  LocalForward 127.0.0.1:1 127.0.0.1:1\n"
        )
        target = attrs.evolve(board, address="far", ssh_config=str(config))
        key_there = host_keys.learn(target)
        assert key_there.fingerprint == host_sshd.fingerprint
        with Ssh(target) as ssh:
            assert ssh.script("echo $SSH_CONNECTION").out.split()[3] == str(host_sshd.port)
        # Past a stranger nobody goes: the key of the machine in between is checked by the user's own known_hosts.
        known.write_text("")
        assert refusal(target).cause == "unknown key"


def test_an_unknown_key_is_refused(host_sshd, own_home, tmp_path):
    error = refusal(target_of(host_sshd.client()))
    assert error.cause == "unknown key"
    assert "hnas devices add board host" in str(error.hint)
    raw = target_of(host_sshd.client(), known=False)
    assert refusal(raw).cause == "unknown key"
    # An address without a name goes by the user's own known_hosts.
    kind, text = (host_sshd.work / "host_key.pub").read_text().split()[:2]
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{host_sshd.port} {kind} {text}\n")
    config = tmp_path / "config"
    config.write_text(host_sshd.client().config.read_text().replace("/dev/null", str(tmp_path / "known_hosts")))
    with Ssh(attrs.evolve(raw, ssh_config=str(config))) as ssh:
        assert ssh.script("echo in").out == "in\n"


def test_a_changed_key_is_refused_and_nothing_is_sent(board, tmp_path):
    """Another machine at that address must not be measured as this one, or told anything."""
    make_key(tmp_path / "other")
    kind, text = (tmp_path / "other.pub").read_text().split()[:2]
    host_keys.keep(board, HostKey(kind, text))
    error = refusal(board)
    assert error.cause == "changed key"
    assert "CHANGED" in str(error)
    assert error.cause in FINAL


def test_permission_denied(board, host_sshd, tmp_path):
    make_key(tmp_path / "stranger")
    config = tmp_path / "config"
    text = host_sshd.client().config.read_text()
    config.write_text(text.replace(f"{host_sshd.work}/client_key", str(tmp_path / "stranger")))
    error = refusal(attrs.evolve(board, ssh_config=str(config)))
    assert error.cause == "permission"
    assert "ssh-copy-id" in str(error.hint)


def test_refused_unknown_host_and_timed_out_have_their_own_words(board, monkeypatch):
    plain = attrs.evolve(board, ssh_config="/dev/null")
    error = refusal(attrs.evolve(plain, address="pi@127.0.0.1", port=free_port()))
    assert error.cause == "refused"
    assert str(error).startswith("board: pi@127.0.0.1 refused")
    nameless = attrs.evolve(plain, name="pi@127.0.0.1", address="pi@127.0.0.1", port=free_port())
    assert str(refusal(nameless)).startswith("pi@127.0.0.1 refused"), "an address is told once"
    assert refusal(attrs.evolve(plain, address="pi@no-such-host.invalid")).cause == "unknown host"
    short = tuple("ConnectTimeout=1" if o.startswith("ConnectTimeout") else o for o in ssh_module.OPTIONS)
    monkeypatch.setattr(ssh_module, "OPTIONS", short)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        error = refusal(attrs.evolve(plain, address="pi@127.0.0.1", port=mute.getsockname()[1]))
    assert error.cause == "timed out"


def test_a_broken_configuration_is_told(board, tmp_path):
    bad = tmp_path / "config"
    bad.write_text("Host *\n  Hostnaem x\n")
    assert refusal(attrs.evolve(board, ssh_config=str(bad))).cause == "configuration"
    assert refusal(attrs.evolve(board, ssh_config=str(tmp_path / "none"))).cause == "configuration"


def test_a_command_that_takes_too_long_is_given_up(board):
    with Ssh(board) as ssh, pytest.raises(DeviceError, match=r"did not answer within 0\.5 s"):
        ssh.run(["sleep", "20"], timeout_s=0.5)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("ssh: connect to host h port 22: No route to host", "unreachable"),
        ("ssh: connect to host h port 22: Connection timed out", "timed out"),
        ("Connection timed out during banner exchange", "timed out"),
        ("Timeout, server h not responding.", "timed out"),
        ("Received disconnect from h: Too many authentication failures", "permission"),
        ("client_loop: send disconnect: Broken pipe", "ended"),
        ("", "ended"),
    ],
)
def test_what_else_openssh_says(said, cause):
    """Words of OpenSSH 9.2 and 9.9 that need a network to be had."""
    assert cause_of(said) == cause


def test_without_an_ssh_client_it_is_told(board, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DeviceError, match="was not found on PATH"):
        ssh_module.ssh_argv(board, [])


def test_the_learnt_fingerprint_is_what_ssh_keygen_prints_and_a_re_learnt_key_replaces_the_old(board, host_sshd):
    assert host_keys.kept(board).fingerprint == host_sshd.fingerprint
    other = attrs.evolve(board, name="other")
    host_keys.keep(other, HostKey("ssh-ed25519", "AAAA"))
    host_keys.keep(other, host_keys.kept(board))
    assert host_keys.kept(other) == host_keys.kept(board)
    host_keys.forget(other)
    assert host_keys.kept(other) is None
    assert ssh_module.known_hosts().read_text().count("\n") == 1
