"""A real sshd on 127.0.0.1 with a key of its own, and how a client reaches it."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from attrs import frozen

from arm_bed.tools import need, run


@frozen(kw_only=True)
class Client:
    """An ssh configuration with one host, whose key it does not know."""

    alias: str
    config: Path
    port: int
    user: str
    identity: Path
    fingerprint: str
    """Of the host's key."""

    @property
    def flags(self) -> dict[str, str]:
        """What `hnas devices add` is told besides name and address."""
        return {"ssh_config": str(self.config), "host_key": self.fingerprint}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def make_key(path: Path) -> str:
    """Make a key unless it is there, and return its fingerprint."""
    if not path.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
    return run("ssh-keygen", "-lf", path).split()[1]


class HostSshd:
    """The server; commands run as they are on this machine, or as ``force_command``. A context manager."""

    def __init__(self, work: Path, *, alias: str = "host", force_command: str = "", forwarding: bool = False) -> None:
        need("sshd", "ssh", "ssh-keygen")
        work.mkdir(parents=True, exist_ok=True)
        self.work, self.alias, self.port = work, alias, free_port()
        self.fingerprint = make_key(work / "host_key")
        make_key(work / "client_key")
        shutil.copy(work / "client_key.pub", work / "authorized_keys")
        (work / "sshd_config").write_text(
            f"""\
ListenAddress 127.0.0.1
Port {self.port}
HostKey {work}/host_key
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile {work}/authorized_keys
AllowTcpForwarding {"yes" if forwarding else "no"}
PrintMotd no
MaxStartups 100
"""
            + (f"ForceCommand {force_command}\n" if force_command else "")
        )

    def client(self, *, port: int | None = None, name: str = "ssh_config") -> Client:
        """Write the client's configuration, for a port in between if given."""
        config = self.work / name
        config.write_text(
            f"""\
Host {self.alias}
  HostName 127.0.0.1
  Port {port or self.port}
  User {getpass.getuser()}
  IdentityFile {self.work}/client_key
  IdentitiesOnly yes
  UserKnownHostsFile /dev/null
"""
        )
        return Client(
            alias=self.alias,
            config=config,
            port=port or self.port,
            user=getpass.getuser(),
            identity=self.work / "client_key",
            fingerprint=self.fingerprint,
        )

    def __enter__(self) -> HostSshd:
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # as root it refuses to start without
        self._log = open(self.work / "sshd.log", "ab")
        program = shutil.which("sshd") or "sshd"  # it wants an absolute path
        self._process = subprocess.Popen(
            [program, "-D", "-e", "-f", self.work / "sshd_config"], stderr=self._log, stdin=subprocess.DEVNULL
        )
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as s:
                if s.recv(4) == b"SSH-":
                    return self
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise RuntimeError("sshd did not start: " + (self.work / "sshd.log").read_text()[-800:])
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()
