"""The C program as a runtime: one process that keeps running, each result compared with numpy's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from hnas import Layer
from hnas_backends.layerbench.lines import network_spec
from hnas_backends.layerbench.oracle import expected, verify
from hnas_backends.layerbench.program import FLAGS, compiler, digest, host_binary
from hnas_backends.layerbench.session import RunnerDied, RunnerSilent, Session
from hnas_backends.x86.options import X86Options

BLOCK = 25
"""Layers whose results numpy computes ahead, not while others are measured: that takes cores and memory bandwidth."""


class CRuntime:
    """Layers as the C program runs them."""

    ops: frozenset[str] | None = None

    def __init__(self, options: X86Options, core: int) -> None:
        self._options, self._core = options, core
        self._binary = host_binary()
        self._session: Session | None = None
        self.name = f"c {digest()}"
        self.settings: Mapping[str, Any] = {"compiler": compiler().version, "flags": list(FLAGS)}
        self.conditions: Mapping[str, Any] = {}

    def layers(self, layers: Sequence[Layer]) -> Iterator[Sequence[float]]:
        """Yield the samples of each layer. Raises `DeviceError`, also if a result is not numpy's."""
        waiting = iter(layers)
        while block := list(islice(waiting, BLOCK)):
            yield from self._run([[layer] for layer in block])

    def network(self, layers: Sequence[Layer]) -> Sequence[float]:
        """Return the samples of a network. Raises `DeviceError`, also if its result is not numpy's."""
        (samples,) = self._run([layers])
        return samples

    def close(self) -> None:
        """End the program."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _run(self, networks: Sequence[Sequence[Layer]]) -> Iterator[Sequence[float]]:
        specs = [network_spec(layers) for layers in networks]
        for layers in networks:
            expected(tuple(layers))
        if self._session is None:
            self._session = Session(self._command())
        try:
            for layers, row in zip(networks, self._session.run(specs), strict=True):
                verify(row, layers)
                yield row.samples_ms
        except (RunnerDied, RunnerSilent):
            self.close()  # so that the next try starts a new one
            raise

    def _command(self) -> list[str]:
        o = self._options
        options = {
            "--cpu": self._core,
            "--samples": o.samples,
            "--min-us": o.sample_ms * 1e3,
            "--max-ms": o.limit_ms,
            "--flush": o.flush_mb,
        }
        return [str(self._binary), *(text for name, value in options.items() for text in (name, str(value)))]
