"""Time single layers with a small C program: one that is the same on this host and on a board over SSH.

The program (`sources`) reads one line for each layer, or for each chain of layers, and answers with one line of JSON as
soon as that is measured: raw samples, and checksums of what it computed. Inputs and weights come from a hash of their
position, so `oracle` computes the same with numpy and a device that computes something else is refused. It needs a libc
and a kernel, nothing else.

`spec` writes the lines, `session` speaks with a running program, `rows` reads the answers, `oracle` verifies them, and
`host` builds the program for this machine.
"""

from hnas_backends.layerbench.host import compiler, host_binary
from hnas_backends.layerbench.oracle import expected, verify
from hnas_backends.layerbench.rows import Checksums, Hello, Row
from hnas_backends.layerbench.session import RunnerBusy, RunnerDied, RunnerSilent, Session
from hnas_backends.layerbench.sources import CACHE, FLAGS, PROTOCOL, SOURCES, digest, sources
from hnas_backends.layerbench.spec import OPS, network_spec, spec

__all__ = [  # noqa: RUF022 - sorted plainly, as everywhere
    "CACHE",
    "Checksums",
    "FLAGS",
    "Hello",
    "OPS",
    "PROTOCOL",
    "Row",
    "RunnerBusy",
    "RunnerDied",
    "RunnerSilent",
    "SOURCES",
    "Session",
    "compiler",
    "digest",
    "expected",
    "host_binary",
    "network_spec",
    "sources",
    "spec",
    "verify",
]
