"""Host keys: learnt without logging in, shown as a fingerprint, kept in hnas's own file under the device's name."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import tempfile
from pathlib import Path

from attrs import frozen

from hnas import DeviceError
from hnas.toolkit.files import write_text
from hnas_backends.arm.link_error import link_error
from hnas_backends.arm.ssh import CONNECT_S, Target, call, known_hosts, ssh_argv


@frozen
class HostKey:
    """The public key of a machine, as a line of known_hosts holds it."""

    kind: str
    text: str

    @property
    def fingerprint(self) -> str:
        """``SHA256:…``, as ssh-keygen and ssh print it."""
        digest = hashlib.sha256(base64.b64decode(self.text)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def has(self, fingerprint: str) -> bool:
        """Return whether this key has the ``fingerprint``."""
        return hmac.compare_digest(self.fingerprint.encode(), fingerprint.strip().rstrip("=").encode())


def learn(target: Target) -> HostKey:
    """Ask a machine for its host key, without logging in. Raises `DeviceError` if it cannot be reached."""
    with tempfile.TemporaryDirectory(prefix="hnas-key-") as folder:
        kept = Path(folder, "known_hosts")
        options = [
            "StrictHostKeyChecking=accept-new",
            f'UserKnownHostsFile="{kept}"',
            "GlobalKnownHostsFile=/dev/null",
            f"HostKeyAlias={target.alias}",
            "CheckHostIP=no",
            "HashKnownHosts=no",
            "PreferredAuthentications=none",
            "ControlMaster=no",
            "ControlPath=none",
        ]
        said = call([*ssh_argv(target, options), "true"], target.name, timeout_s=3 * CONNECT_S).err
        key = _find(kept, target.alias)
    if key is None:
        raise link_error(target.name, target.address, said)
    return key


def keep(target: Target, key: HostKey) -> None:
    """Keep the key under the device's name, replacing any earlier one."""
    path = known_hosts()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(_others(path, target.alias)) + f"{target.alias} {key.kind} {key.text}\n")


def forget(target: Target) -> None:
    """Delete the key that is kept under the device's name, if there is one."""
    path = known_hosts()
    if path.is_file():
        write_text(path, "".join(_others(path, target.alias)))


def kept(target: Target) -> HostKey | None:
    """Return the key that is kept under the device's name, or ``None``."""
    return _find(known_hosts(), target.alias)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _others(path: Path, alias: str) -> list[str]:
    return [f"{line}\n" for line in _lines(path) if line.split(" ")[0] != alias]


def _find(path: Path, alias: str) -> HostKey | None:
    for words in map(str.split, _lines(path)):
        if len(words) >= 3 and words[0] == alias:
            key = HostKey(words[1], words[2])
            try:
                key.fingerprint  # noqa: B018 - a damaged line raises here, not in the middle of a question
            except (binascii.Error, ValueError) as cause:
                raise DeviceError(f"{path} holds a damaged key for {alias}", hint="remove that line") from cause
            return key
    return None
