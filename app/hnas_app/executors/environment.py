"""The environment of worker processes: one thread each, which waits without spinning, and keeps freed memory."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hnas.errors import shown

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""For every worker, overriding the driver's environment. Set before it imports torch, which then needs no setting."""

WORKER_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # with spinning threads a busy machine is 30 times slower
    # Keep freed memory, in huge pages: training allocates and frees the same large blocks for hours. (Blocks above
    # 32 MB would be given back to the kernel each time, whatever the threshold; `mmap_max` prevents it.)
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=2147483647",
}
"""For workers, unless the driver's environment sets another value."""


def worker_environment() -> dict[str, str]:
    """Return the variables that a worker's environment needs besides those that it inherits."""
    return {**{name: os.environ.get(name, value) for name, value in WORKER_ENVIRONMENT.items()}, **ONE_THREAD}


class Escaped(io.TextIOWrapper):
    """A stream of a worker: what a plugin prints there steers no terminal, as in the driver."""

    def write(self, text: str) -> int:
        super().write(shown(text, keep="\n\t"))
        return len(text)


def escape_streams() -> None:
    """Escape control characters in whatever this process prints from now on."""
    for name in ("stdout", "stderr"):
        if stream := getattr(sys, name):
            given = {"encoding": stream.encoding, "errors": "backslashreplace", "line_buffering": True}
            setattr(sys, name, Escaped(stream.buffer, **given))


@contextmanager
def environment_of_workers() -> Iterator[None]:
    """Set this process's environment as workers need it, for a while: a new process inherits it."""
    before = dict(os.environ)
    os.environ.update(wanted := worker_environment())
    try:
        yield
    finally:
        for name in wanted.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
