"""Why a connection failed: the output of ssh as one sentence, with the next step."""

from __future__ import annotations

import re

from hnas import DeviceError

_CAUSES = {
    "configuration": (
        r"Bad configuration option|Can't open user config file|terminating, \d+ bad configuration",
        "{name}: ssh cannot use its configuration: {last}",
        "`ssh {address}` says the same; mend that file, or name another by --ssh-config",
    ),
    "changed key": (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for \S+ has changed",
        "{name}: the host key of {address} CHANGED: this is another machine, a new installation, or an attack. Nothing "
        "was sent to it",
        "only if you know why it changed: {forget}",
    ),
    "unknown key": (
        r"host key is known for|Host key verification failed",
        "{name}: the host key of {address} is not known, so nothing was sent to it",
        "learn it: {learn}",
    ),
    "permission": (
        r"Permission denied|Too many authentication failures|No more authentication methods",
        "{who} refused the login: authentication failed, none of your keys was accepted",
        "hnas never asks for a password: put your key there (ssh-copy-id {address}), name another by --identity at "
        "`hnas devices add`, or unlock it with ssh-add",
    ),
    "unknown host": (
        r"Could not resolve hostname|Name or service not known",
        "{name}: no host has the name in {address}",
        "check the spelling, and that the device is on this network; an address such as 192.168.1.20 works too",
    ),
    "refused": (
        r"Connection refused",
        "{who} refused the connection: the machine is there, but no ssh server on that port",
        "switch it on (raspi-config, Interface Options, SSH), or give its port: --port at `hnas devices add`",
    ),
    "timed out": (
        r"timed out|Timeout, server",
        "{who} did not answer in time",
        "check that it is switched on and on this network, then run the command again",
    ),
    "unreachable": (
        r"No route to host|Network is unreachable|Host is down",
        "{name}: there is no way to {address} from here: {last}",
        "check that it is switched on and on this network, then run the command again",
    ),
    "ended": (
        r"",
        "{name}: the connection to {address} ended; ssh said: {last}",
        "`ssh {address}` shows whether the device can be reached, then run the command again",
    ),
}
"""What ssh says, our sentence and the next step. In order of precedence: a changed key is also a failed verification,
and the last one is for all other causes."""
FINAL = frozenset({"changed key", "unknown key", "permission", "configuration"})
"""Causes that another attempt cannot mend."""


class LinkError(DeviceError):
    """The device cannot be reached, or no longer; ``cause`` is the reason."""

    def __init__(self, message: str, *, cause: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.cause = cause


def cause_of(said: str) -> str:
    """Return the cause that the output of ssh names."""
    return next(cause for cause, (pattern, _, _) in _CAUSES.items() if re.search(pattern, said))


def link_error(name: str, address: str, said: str, *, known: bool = True) -> LinkError:
    """Return the error for a device from ``said``, ssh's standard error.

    ``known``: hnas keeps its host key; otherwise the user's own known_hosts has to.
    """
    cause = cause_of(said)
    learn = f"hnas devices remove {name}, then hnas devices add {name} {address}"
    words = {
        "name": name,
        "address": address,
        "who": address if name == address else f"{name}: {address}",
        "last": next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "nothing"),
        "learn": learn if known else f"hnas devices add NAME {address}",
        "forget": learn if known else f"ssh-keygen -R {address.rpartition('@')[2]}",
    }
    _, text, hint = _CAUSES[cause]
    return LinkError(text.format(**words), cause=cause, hint=hint.format(**words))
