"""Which program a board runs: its processor and its word size, asked with ``sh`` and nothing else."""

from __future__ import annotations

import re
from typing import cast

from attrs import frozen

from hnas import DeviceError
from hnas_backends.arm.options import Arch
from hnas_backends.arm.preflight import VCGENCMD, parse
from hnas_backends.arm.ssh import Ssh

_PROBE = (
    'echo "machine=$(uname -m)"; '
    # Without getconf (busybox) the fifth byte of an ELF file tells: 1 for 32 bit, 2 for 64.
    'echo "bits=$(getconf LONG_BIT 2>/dev/null || od -An -tu1 -j4 -N1 /bin/sh 2>/dev/null | tr -d " ")"; '
    'echo "cpus=$(nproc 2>/dev/null || grep -c "^processor" /proc/cpuinfo 2>/dev/null)"; '
    'echo "features=$(grep -m1 -i "^Features" /proc/cpuinfo 2>/dev/null)"; '
    f'echo "firmware=$({VCGENCMD})"'
)


@frozen(kw_only=True)
class Probe:
    """What a board says of itself before a program of ours runs there."""

    machine: str
    bits: int
    cpus: int
    neon: bool
    throttled: int | None
    """By `vcgencmd`, for kernels that do not have it among their sensors."""


def probe(ssh: Ssh) -> Probe:
    """Ask the board. Raises `DeviceError` where it cannot be reached, or answers nothing that makes sense."""
    answer = ssh.script(_PROBE)
    facts = dict(line.split("=", 1) for line in answer.out.splitlines() if "=" in line)
    machine = facts.get("machine", "").strip()
    if not machine:
        raise DeviceError(
            f"{ssh.target.name} did not say what it is: `uname -m` gave {answer.out[:100]!r} {answer.err[:200]!r}",
            hint="a board that can be measured has a shell and Linux; a login script that writes something spoils it",
        )
    bits = {"1": 32, "2": 64, "32": 32, "64": 64}.get(facts.get("bits", "").strip(), 0)
    features = facts.get("features", "").lower()
    return Probe(
        machine=machine,
        bits=bits or (64 if machine in ("aarch64", "arm64") else 32),
        cpus=int(facts.get("cpus", "").strip() or 1),
        neon=not features or re.search(r"\b(neon|asimd)\b", features) is not None,
        throttled=parse(facts.get("firmware", "")),
    )


def choose(name: str, found: Probe, build: str) -> Arch:
    """Return which program to use on a board: the one of its processor and word size, or ``build`` where it runs there.

    ``uname -m`` tells the kernel's word size only: under a 64-bit kernel with a 32-bit system, programs are 32-bit.
    Raises `DeviceError`.
    """
    machine, wide = found.machine, found.machine in ("aarch64", "arm64")
    if not wide and not machine.startswith("arm"):
        raise DeviceError(
            f"{name} is not an ARM device: `uname -m` says {machine!r}",
            hint="this backend measures ARM boards; --backend x86 measures this machine",
        )
    version = re.match(r"armv(\d+)", machine)
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
