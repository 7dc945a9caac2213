"""Select the program that a board runs, by its processor and word size, read with ``sh`` only."""

from __future__ import annotations

import re
from typing import cast

from attrs import frozen

from hnas import DeviceError
from hnas.errors import short
from hnas_backends.arm.options import Arch
from hnas_backends.arm.preflight import VCGENCMD, parse
from hnas_backends.arm.ssh import Ssh

_PROBE = (
    'echo "machine=$(uname -m)"; '
    # Without getconf (busybox) the fifth byte of an ELF file is read: 1 for 32 bit, 2 for 64.
    'echo "bits=$(getconf LONG_BIT 2>/dev/null || od -An -tu1 -j4 -N1 /bin/sh 2>/dev/null | tr -d " ")"; '
    'echo "cpus=$(nproc 2>/dev/null || grep -c "^processor" /proc/cpuinfo 2>/dev/null)"; '
    'echo "features=$(grep -m1 -i "^Features" /proc/cpuinfo 2>/dev/null)"; '
    f'echo "firmware=$({VCGENCMD})"'
)


@frozen(kw_only=True)
class Probe:
    """What a board reports before a program of ours runs there."""

    machine: str
    bits: int
    cpus: int
    neon: bool
    throttled: int | None
    """From `vcgencmd`, for kernels without such a sensor."""


def probe(ssh: Ssh) -> Probe:
    """Query the board. Raises `DeviceError` if it cannot be reached, or if its answer makes no sense."""
    answer = ssh.script(_PROBE)
    facts = dict(line.split("=", 1) for line in answer.out.splitlines() if "=" in line)
    machine = facts.get("machine", "").strip()
    if not machine:
        raise DeviceError(
            f"{ssh.target.name} did not say what it is: `uname -m` gave {answer.out[:100]!r} {answer.err[:200]!r}",
            hint="a board that can be measured has a shell and Linux; its login scripts must not print anything",
        )
    bits = {"1": 32, "2": 64, "32": 32, "64": 64}.get(facts.get("bits", "").strip(), 0)
    features = facts.get("features", "").lower()
    return Probe(
        machine=machine,
        bits=bits or (64 if machine in ("aarch64", "arm64") else 32),
        cpus=_cpus(ssh.target.name, facts.get("cpus", "").strip()),
        neon=not features or re.search(r"\b(neon|asimd)\b", features) is not None,
        throttled=parse(facts.get("firmware", "")),
    )


def _cpus(name: str, text: str) -> int:
    if text and not re.fullmatch(r"[1-9][0-9]{0,4}", text):
        raise DeviceError(
            f"{name} answered cpus={short(text)}: expected a whole number of processors",
            hint="`nproc` on the board shows what it answers; its login scripts must not print anything",
        )
    return int(text or 1)


def choose(name: str, found: Probe, build: str) -> Arch:
    """Return the program to use on a board: the one for its processor and word size, or ``build`` if it runs there.

    ``uname -m`` shows only the kernel's word size: with a 64-bit kernel and a 32-bit system, programs are 32-bit.
    Raises `DeviceError`.
    """
    machine, wide = found.machine, found.machine in ("aarch64", "arm64")
    if not wide and not machine.startswith("arm"):
        raise DeviceError(
            f"{name} is not an ARM device: `uname -m` says {machine!r}",
            hint="this backend measures ARM boards; --backend x86 measures this machine",
        )
    version = re.match(r"armv([0-9]{1,4})", machine)
    if not wide and (version is None or int(version[1]) < 6):
        raise DeviceError(
            f"{name} is too old an ARM: `uname -m` says {machine!r}; the programs here are for ARMv6 and newer",
            hint="a Raspberry Pi of any age is ARMv6 or newer",
        )
    if found.bits == 64 and not wide and build == "auto":
        raise DeviceError(
            f"{name} contradicts itself on its word size: `uname -m` says {machine!r}, but `getconf LONG_BIT` 64",
            hint="name the program yourself: --set backend.build=armv7",
        )
    own: Arch = "aarch64" if wide and found.bits == 64 else "armv6" if machine.startswith("armv6") else "armv7"
    if own == "armv7" and not found.neon:
        own = "armv6"
    if build == "auto":
        return own
    if build == "aarch64" and not wide:
        raise DeviceError(
            f"{name} has the wrong word size for backend.build=aarch64: its kernel is 32-bit ({machine!r})",
            hint=f"use backend.build={own}, or auto; a 64-bit system on the board would run it",
        )
    if build == "armv7" and own == "armv6":
        raise DeviceError(
            f"{name} cannot run the program of backend.build=armv7: it is {machine!r}, without NEON",
            hint="use backend.build=armv6, or auto",
        )
    return cast(Arch, build)
