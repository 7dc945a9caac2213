"""The program for this machine: compiled at first use, kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from attrs import frozen

from hnas import DeviceError
from hnas.toolkit.home import home
from hnas_backends.layerbench.sources import FLAGS, digest, write_sources

TUNINGS = (("-march=native",), ("-mcpu=native",), ())
"""The first that the compiler knows is taken."""


@frozen
class Compiler:
    """A C compiler: where it is, and the first line of what ``--version`` says."""

    path: str
    version: str


@cache
def compiler() -> Compiler:
    """Return the compiler of this machine: ``$CC``, else cc, gcc or clang.

    Raises `DeviceError` where there is none.
    """
    named = os.environ.get("CC")
    path = next((p for c in (named, "cc", "gcc", "clang") if c and (p := shutil.which(c))), None)
    if path is None:
        raise DeviceError(
            "backend.runtime=c needs a C compiler at its first use, and none was found: tried "
            f"{f'CC={named}, ' if named else ''}cc, gcc and clang",
            hint="install gcc or clang, or measure with PyTorch: --set backend.runtime=torch",
        )
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as cause:
        raise DeviceError(
            f"the C compiler {path} does not work: {cause}",
            hint="set CC to one that does, or measure with PyTorch: --set backend.runtime=torch",
        ) from cause
    return Compiler(path, said.strip().splitlines()[0] if said.strip() else "unknown version")


@cache
def host_binary() -> Path:
    """Return the program for this machine; compile it first where the cache has none. Takes some seconds then.

    Raises `DeviceError` where it cannot be compiled.
    """
    found = compiler()
    key = hashlib.sha256("\0".join([digest(), found.path, found.version, _processor()]).encode()).hexdigest()[:20]
    folder = home() / "layerbench"
    if (known := _cached(folder, key)) is not None:
        return known
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _build(found, folder, key)
    except OSError as cause:
        raise DeviceError(
            f"the layer runner cannot be built in {folder}: {cause}",
            hint="make that folder writable, or set HNAS_HOME to one that is",
        ) from cause


def _build(found: Compiler, folder: Path, key: str) -> Path:
    if sys.stderr.isatty():
        print("hnas: compiling the layer runner for this machine, once", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        built, code = Path(scratch, "layerbench"), write_sources(Path(scratch))
        for tuning in TUNINGS:
            command = [found.path, *FLAGS, *tuning, "-o", str(built), *map(str, code)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            except subprocess.TimeoutExpired:
                raise DeviceError(
                    f"{found.path} compiled the layer runner for 300 s without coming to an end"
                ) from None
            if done.returncode == 0:
                target = folder / f"{key}-{_digest(built)}"
                os.replace(built, target)  # another process may have been faster: either will do
                return target
    raise DeviceError(
        f"{found.path} ({found.version}) cannot compile the layer runner: {done.stderr.strip()[-400:]}",
        hint="set CC to another compiler, or measure with PyTorch: --set backend.runtime=torch",
    )


def _cached(folder: Path, key: str) -> Path | None:
    """Return the program of an earlier build; its name holds the digest of its content, so a damaged one is seen."""
    for found in sorted(folder.glob(f"{key}-*")):
        if found.name == f"{key}-{_digest(found)}":
            return found
        found.unlink(missing_ok=True)
    return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


def _processor() -> str:
    """Return what tells processors apart that one cache folder may serve (a home on a network): model and features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    told = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return "\n".join([platform.machine(), platform.system(), platform.processor(), *sorted(told)])
