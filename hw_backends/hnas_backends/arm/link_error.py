"""Why a connection failed: what ssh said, in a sentence of its own, with the next step."""

from __future__ import annotations

import re
from typing import Literal

from hnas import DeviceError

Cause = Literal[
    "changed key", "unknown key", "permission", "unknown host", "refused", "timed out", "unreachable", "configuration",
    "ended",
]  # fmt: skip
_SAID: tuple[tuple[Cause, str], ...] = (
    ("configuration", r"Bad configuration option|Can't open user config file|terminating, \d+ bad configuration"),
    ("changed key", r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for \S+ has changed"),
    ("unknown key", r"host key is known for|Host key verification failed"),
    ("permission", r"Permission denied|Too many authentication failures|No more authentication methods"),
    ("unknown host", r"Could not resolve hostname|Name or service not known"),
    ("refused", r"Connection refused"),
    ("timed out", r"timed out|Timeout, server"),
    ("unreachable", r"No route to host|Network is unreachable|Host is down"),
)
"""In the order in which they count: a changed key is also a failed verification."""
FINAL: frozenset[Cause] = frozenset({"changed key", "unknown key", "permission", "configuration"})
"""What another try cannot mend."""


class LinkError(DeviceError):
    """The device cannot be reached, or not any more; ``cause`` says why."""

    def __init__(self, message: str, *, cause: Cause, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.cause = cause


def cause_of(said: str) -> Cause:
    """Return what the words of ssh mean."""
    return next((cause for cause, pattern in _SAID if re.search(pattern, said)), "ended")


def link_error(name: str, address: str, said: str, *, known: bool = True) -> LinkError:
    """Make the error for what ``said``, ssh's standard error, tells of a device.

    ``known`` says whether hnas keeps its host key; otherwise the user's own known_hosts has to.
    """
    cause = cause_of(said)
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "nothing")
    by_hand = f"ssh {address}"
    who = address if name == address else f"{name}: {address}"
    learn = f"hnas devices remove {name}, then hnas devices add {name} {address}"
    forget = f"ssh-keygen -R {address.rpartition('@')[2]}"
    text, hint = {
        "changed key": (
            f"{name}: the host key of {address} CHANGED: this is another machine, a new installation, or an attack. "
            "Nothing was sent to it",
            f"only if you know why it changed: {learn if known else forget}",
        ),
        "unknown key": (
            f"{name}: the host key of {address} is not known, so it was not spoken to",
            f"learn it: {learn}" if known else f"learn it: hnas devices add NAME {address}",
        ),
        "permission": (
            f"{who} let nobody in: it accepted none of your keys",
            f"hnas never asks for a password: put your key there (ssh-copy-id {address}), name another by --identity "
            "at `hnas devices add`, or unlock it with ssh-add",
        ),
        "unknown host": (
            f"{name}: no host has the name in {address}",
            "check the spelling, and that the device is on this network; an address such as 192.168.1.20 works too",
        ),
        "refused": (
            f"{who} refused the connection: the machine is there, but no ssh server on that port",
            "switch it on (raspi-config, Interface Options, SSH), or give its port: --port at `hnas devices add`",
        ),
        "timed out": (
            f"{who} did not answer in time",
            "check that it is switched on and on this network, then run the command again",
        ),
        "unreachable": (
            f"{name}: there is no way to {address} from here: {last}",
            "check that it is switched on and on this network, then run the command again",
        ),
        "configuration": (
            f"{name}: ssh cannot use its configuration: {last}",
            f"`{by_hand}` says the same; mend that file, or name another by --ssh-config",
        ),
        "ended": (
            f"{name}: the connection to {address} ended; ssh said: {last}",
            f"`{by_hand}` shows whether the device can be reached, then run the command again",
        ),
    }[cause]  # fmt: skip
    return LinkError(text, cause=cause, hint=hint)
