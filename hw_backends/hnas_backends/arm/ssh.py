"""One device over the OpenSSH client: its options, one shared connection, and why a connection failed.

The client reads the user's configuration itself, so that aliases, ``Include`` and ``ProxyJump`` work as they do in a
terminal; host keys are always checked.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas import ConfigError, DeviceError
from hnas.errors import short
from hnas.toolkit.devices import Device, DeviceBook
from hnas.toolkit.home import config_home
from hnas_backends import child_process
from hnas_backends.arm.link_error import cause_of, link_error

CONNECT_S = 10
ALIVE_S, ALIVE_COUNT = 2, 2
"""A frozen link ends the client soon after the product of both."""
FAILED = 255
"""The exit status if ssh itself failed, not the command."""
OPTIONS = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    f"ConnectTimeout={CONNECT_S}",
    f"ServerAliveInterval={ALIVE_S}",
    f"ServerAliveCountMax={ALIVE_COUNT}",
    "LogLevel=ERROR",
    # Options that a user may set for a terminal, but that must not apply here.
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "NoHostAuthenticationForLocalhost=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
)
_SETTINGS = {"address": "", "ssh_config": "", "port": 0, "identity": ""}
"""The settings of a device that are kept, and their defaults."""
_ADDRESS = re.compile(r"(?:[\w.+-]+@)?[\w.:%\[\]][\w.:%\[\]-]*")


@frozen(kw_only=True)
class Target:
    """Where a device is: ``address`` as the user's ssh understands it, and other settings from when it was added."""

    name: str
    address: str
    known: bool = True
    """Whether hnas itself keeps the host key, under `alias`; otherwise the user's own known_hosts has to."""
    ssh_config: str = ""
    port: int = 0
    identity: str = ""

    @classmethod
    def of(cls, device: Device) -> Target:
        """Return the target of a named device."""
        held = {key: _held(device, key, default) for key, default in _SETTINGS.items()}
        return cls(name=device.name, **{**held, "address": check_address(held["address"])})

    @property
    def alias(self) -> str:
        """The name that the host key is kept under; it stays the same if the address changes."""
        return f"hnas-{self.name}"


def check_address(address: str) -> str:
    """Return ``address`` if it is valid. Raises `ConfigError`, also for a text that ssh would take as an option."""
    if not _ADDRESS.fullmatch(address) or address.startswith("-"):
        raise ConfigError(
            f"{address!r} is no address of a device: expected USER@HOST, or a host of your ssh configuration",
            hint="a port is given by --port, a key by --identity",
        )
    return address


def _held(device: Device, key: str, default: Any) -> Any:
    """Return a setting of a device, which a user may have edited."""
    value = device.settings.get(key, default)
    port = key == "port"
    if type(value) is not type(default) or (not 0 <= value <= 65535 if port else "\0" in value):
        expected = "a whole number up to 65535, or 0 for the usual one" if port else "text"
        raise ConfigError(
            f"the {key} of the device {device.name!r} is {short(value)}: expected {expected}",
            hint=f"mend it in {DeviceBook().path}, or add the device anew: hnas devices remove {device.name}",
        )
    return value


def known_hosts() -> Path:
    """Return hnas's own file of host keys."""
    return config_home() / "known_hosts"


def ssh_argv(target: Target, options: Sequence[str]) -> list[str]:
    """Return the ssh command without the remote one. ``options`` (``Name=value``) take precedence over all others."""
    program = shutil.which("ssh")
    if program is None:
        raise DeviceError(
            "the OpenSSH client `ssh` was not found on PATH", hint="install it: apt install openssh-client"
        )
    argv = [program, "-T"]
    for flag, value in (("-F", target.ssh_config), ("-p", target.port), ("-i", target.identity)):
        argv += [flag, str(value)] if value else []
    for option in (*options, *OPTIONS):  # ssh takes the first of two values
        argv += ["-o", option]
    return [*argv, "--", target.address]


@frozen
class Answer:
    """The result of a remote command."""

    status: int
    out: str
    err: str


class Ssh:
    """A connection to one device, opened at first use and shared by everything that runs there; a context manager."""

    def __init__(self, target: Target) -> None:
        self.target = target
        base = tempfile.gettempdir()
        # A socket's path has some hundred characters at most. mkdtemp makes the folder for this user alone (0700).
        self._folder = tempfile.mkdtemp(prefix="hnas-ssh-", dir=base if len(base) < 50 else "/tmp")
        keys = [str(known_hosts()), "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
        self._options = [
            "ControlMaster=auto",
            f"ControlPath={self._folder}/s",
            "ControlPersist=60",
            "GlobalKnownHostsFile=" + " ".join(f'"{k}"' for k in keys),
        ]
        if target.known:
            self._options += [f"HostKeyAlias={target.alias}", "CheckHostIP=no"]

    def __enter__(self) -> Ssh:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def argv(self, words: Sequence[str]) -> list[str]:
        """Return the local command that runs ``words`` on the device; each is quoted for the shell there."""
        return [*ssh_argv(self.target, self._options), shlex.join(words)]

    def run(self, words: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> Answer:
        """Run a command on the device and return its result.

        Raises `LinkError` if ssh failed, and `DeviceError` if the command took longer than ``timeout_s``.
        """
        answer = call(self.argv(words), self.target.name, stdin=stdin, timeout_s=timeout_s)
        if answer.status == FAILED:
            raise link_error(self.target.name, self.target.address, self._why(answer.err), known=self.target.known)
        return answer

    def _why(self, said: str) -> str:
        """Return ssh's message about a failure; behind a ProxyJump, a shared connection prints none."""
        if cause_of(said) != "ended":
            return said
        alone = ["ControlMaster=no", "ControlPath=none", *self._options[3:]]
        answer = call([*ssh_argv(self.target, alone), "true"], self.target.name, timeout_s=3 * CONNECT_S)
        return answer.err if answer.status == FAILED else said

    def script(self, text: str, *arguments: str, stdin: bytes = b"", timeout_s: float = 60.0) -> Answer:
        """Run a fixed script of ``sh`` with arguments (its ``$1`` and so on), as `run` does."""
        return self.run(["sh", "-c", text, "hnas", *arguments], stdin=stdin, timeout_s=timeout_s)

    def drop(self) -> None:
        """Close the shared connection, so that the next command opens a new one."""
        argv = ssh_argv(self.target, self._options)
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            subprocess.run(
                [*argv[:1], "-O", "exit", *argv[1:]],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=5,
            )  # fmt: skip
        Path(self._folder, "s").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the connection and remove its folder. May be called twice."""
        if os.path.isdir(self._folder):
            self.drop()
            shutil.rmtree(self._folder, ignore_errors=True)


def call(argv: Sequence[str], name: str, *, stdin: bytes = b"", timeout_s: float) -> Answer:
    """Run ssh without a terminal, so that it can ask nothing."""
    environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    try:
        done = child_process.run(argv, stdin=stdin, timeout_s=timeout_s, env=environment)
    except child_process.TooMuchOutput as cause:
        raise DeviceError(
            f"{name} answered without end: {cause}",
            hint="what runs there is no board that can be measured, or a login script of it prints something",
        ) from None
    except subprocess.TimeoutExpired:
        raise DeviceError(
            f"{name} did not answer within {timeout_s:g} s",
            hint="check that the device is up and not overloaded, then run the command again",
        ) from None
    return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
