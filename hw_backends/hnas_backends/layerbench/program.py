"""The C program: its sources and flags, a digest of both, and its build for this machine, kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path

from hnas import DeviceError
from hnas.toolkit import ccompile
from hnas.toolkit.home import home

CACHE = "layerbench"
"""The folder of hnas' home that keeps programs."""
PROTOCOL = 2
"""The version that `--hello` has to report: the lines and rows that this package writes and reads."""
SOURCES = ("layerbench.c", "bench.c", "device.c", "flow.c", "ops.c", "gemm.c")
HEADERS = ("bench.h", "device.h", "flow.h", "ops.h", "op.h", "gemm.h", "activations.h")
FLAGS = ("-O3", "-ffast-math", "-std=gnu99")
"""For any target; the caller adds the processor and ``-static``. Needs no ``-lm``."""


@cache
def sources() -> dict[str, bytes]:
    """Return name to content of every file that the program is built from, headers included."""
    return {name: files(__package__).joinpath(name).read_bytes() for name in SOURCES + HEADERS}


@cache
def digest() -> str:
    """Return the name of this version of the program: 16 hex digits over its sources and flags."""
    parts = [part for name, content in sources().items() for part in (name.encode(), content)]
    return hashlib.sha256(b"\0".join([*parts, *(flag.encode() for flag in FLAGS)])).hexdigest()[:16]


@cache
def compiler() -> ccompile.Compiler:
    """Return the compiler of this machine: ``$CC``, else cc, gcc or clang.

    Raises `DeviceError` if there is none.
    """
    try:
        return ccompile.compiler()
    except ccompile.CompileError as cause:
        raise _error(cause) from cause


@cache
def host_binary() -> Path:
    """Return the program for this machine; compile it, in some seconds, if the cache has none.

    Raises `DeviceError` if it cannot be compiled.
    """
    try:
        return ccompile.build(sources(), FLAGS, "program", CACHE, _compiling)
    except ccompile.CompileError as cause:
        raise _error(cause) from cause


def _compiling() -> None:
    if sys.stderr.isatty():
        print("hnas: compiling the layer runner for this machine, once", file=sys.stderr)


def _error(cause: ccompile.CompileError) -> DeviceError:
    match cause.reason:
        case "missing":
            named = os.environ.get("CC")
            return DeviceError(
                "backend.runtime=c needs a C compiler at its first use, and none was found: tried "
                f"{f'CC={named}, ' if named else ''}cc, gcc and clang",
                hint="install gcc or clang, or measure with PyTorch: --set backend.runtime=torch",
            )
        case "broken":
            return DeviceError(
                f"the C compiler {cause.compiler} does not work: {cause.detail}",
                hint="set CC to one that does, or measure with PyTorch: --set backend.runtime=torch",
            )
        case "slow":
            return DeviceError(f"{cause.compiler} compiled the layer runner for 300 s without finishing")
        case "failed":
            return DeviceError(
                f"{cause.compiler} ({compiler().version}) cannot compile the layer runner: {cause.detail[-400:]}",
                hint="set CC to another compiler, or measure with PyTorch: --set backend.runtime=torch",
            )
        case "unwritable":
            return DeviceError(
                f"the layer runner cannot be built in {home() / CACHE}: {cause.detail}",
                hint="make that folder writable, or set HNAS_HOME to one that is",
            )
