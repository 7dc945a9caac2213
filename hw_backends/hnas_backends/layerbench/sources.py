"""The C sources: which files, built with which flags, and a digest that tells one version from another."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

CACHE = "layerbench"
"""The folder of hnas' home that keeps programs."""
PROTOCOL = 1
"""What `--hello` has to answer: the lines and rows that this package writes and reads."""
SOURCES = ("layerbench.c", "bench.c", "device.c", "flow.c", "ops.c", "gemm.c")
HEADERS = ("bench.h", "device.h", "flow.h", "ops.h", "op.h", "gemm.h", "activations.h")
FLAGS = ("-O3", "-ffast-math", "-std=gnu99")
"""For any target; which processor, and ``-static``, are up to who builds. Needs no ``-lm``."""


@cache
def sources() -> dict[str, bytes]:
    """Return name to content of every file that the program is built from, headers included."""
    return {name: files(__package__).joinpath(name).read_bytes() for name in SOURCES + HEADERS}


@cache
def digest() -> str:
    """Return what names this version of the program: 16 hex digits over its sources and flags."""
    parts = [part for name, content in sources().items() for part in (name.encode(), content)]
    return hashlib.sha256(b"\0".join([*parts, *(flag.encode() for flag in FLAGS)])).hexdigest()[:16]
