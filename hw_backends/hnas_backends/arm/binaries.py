"""Which program fits a board: a prebuilt one, else one that is built here and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas import DataError, DeviceError
from hnas.toolkit.ccompile import cache_key, cached
from hnas.toolkit.files import write_bytes
from hnas.toolkit.home import home
from hnas_backends.arm.options import Arch
from hnas_backends.arm.toolchain import GCC, ZIG, Toolchain, build, toolchain
from hnas_backends.layerbench.program import CACHE, digest

SCHEMA = 1
FOLDER = Path(__file__).parent / "binaries"
"""Beside the code, so that an editable install has them too."""


@frozen(kw_only=True)
class Binary:
    """A program for one kind of ARM, and who compiled it."""

    arch: Arch
    content: bytes
    compiler: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def binary(arch: Arch) -> Binary | None:
    """Return the program for ``arch``, or ``None`` where it can only be compiled on the board itself.

    In order: the prebuilt one, if it is of these sources; ziglang; a cross gcc on PATH. Raises `DeviceError` where a
    compiler fails.
    """
    if (made := prebuilt(arch)) is not None:
        return made
    found = toolchain(arch)
    return None if found is None else _built(arch, found)


@cache
def manifest() -> dict[str, Any]:
    """Return what is known of the prebuilt programs; empty where there are none."""
    try:
        content = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("schema") == SCHEMA else {}


def prebuilt(arch: Arch) -> Binary | None:
    """Return the prebuilt program, or ``None`` where it is of other sources, damaged or missing."""
    known = manifest()
    if known.get("source") != digest():
        return None
    try:
        made = Binary(arch=arch, content=(FOLDER / f"layerbench-{arch}").read_bytes(), compiler=known["compiler"])
        return made if made.sha256 == known["binaries"][arch]["sha256"] else None
    except (OSError, KeyError):
        return None


def _built(arch: Arch, found: Toolchain) -> Binary:
    """Return the program of a compiler here, from the cache if it made it before."""
    key = cache_key(digest(), arch, found.version, " ".join((*ZIG[arch], *GCC[arch])))
    folder = home() / CACHE
    if (known := cached(folder, key)) is not None:
        return Binary(arch=arch, content=known.read_bytes(), compiler=found.version)
    print(f"hnas: compiling the layer runner for {arch} with {found.version}, once", file=sys.stderr)
    content = build(arch, found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / f"{key}-{hashlib.sha256(content).hexdigest()[:20]}", content)
    except (OSError, DataError) as cause:
        raise DeviceError(
            f"the layer runner for {arch} cannot be kept in {folder}: {cause}",
            hint="make that folder writable, or set HNAS_HOME to one that is",
        ) from cause
    return Binary(arch=arch, content=content, compiler=found.version)
