"""The lines of the C program: those that it reads, and the rows, errors and words on the device that it writes.

It reads an ID, then the key of one layer or the keys of a network. A `Layer.key` says everything there is to run, so
it is the program's input as well as the table's row. In a network it may be followed by the places that it reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from hnas import DeviceError, Layer
from hnas.errors import close_matches, short
from hnas.toolkit.activations import ACTIVATIONS
from hnas.toolkit.dataflow import dataflow
from hnas.toolkit.files import parse_json

OPS = ("conv2d", "linear", "norm", "max_pool", "avg_pool", "add", "concat", *ACTIVATIONS)
MAX_LINE = 1 << 20
"""Characters of the longest line worth reading: a row of 1,000 samples has some 20,000."""


class RunnerBusy(DeviceError):
    """Another client holds the device's lock."""


def spec(layer: Layer) -> str:
    """Return the text after the ID for a single layer.

    Raises `DeviceError` for an operation that the program does not know.
    """
    if layer.op not in OPS:
        raise unknown_op(layer, "layer runner", "a backend of your own can measure other operations")
    return layer.key


def unknown_op(layer: Layer, runtime: str, hint: str | None = None) -> DeviceError:
    """Make the error for an operation that is not among `OPS`."""
    return DeviceError(
        f"the operation {layer.op!r} ({layer.key}) is unknown to the {runtime}.{close_matches(layer.op, OPS)} "
        f"Known: {', '.join(OPS)}",
        hint=hint,
    )


def network_spec(layers: Sequence[Layer]) -> str:
    """Return the text after the ID for a whole network, connected as `connections` says; of one layer, its `spec`.

    A layer that reads other values than the output before has ``@`` and their places, as `Layer.reads` counts them.
    Raises `DeviceError` if the layers make no network.
    """
    words = []
    for n, (layer, read) in enumerate(zip(layers, connections(layers), strict=True)):
        places = ",".join(str(n + 1 - value) for value in read)
        words.append(spec(layer) + ("" if read == (n,) else f"@{places}"))
    return " ".join(words)


def connections(layers: Sequence[Layer]) -> list[tuple[int, ...]]:
    """Return what each layer reads, as `hnas.toolkit.dataflow` says.

    A layer alone reads one input, though its `Layer.reads` may be those within a network. Raises `DeviceError` if the
    layers make no network.
    """
    return [(0,)] if len(layers) == 1 else dataflow(layers)


@frozen(kw_only=True)
class Checksums:
    """A result in five numbers: ``mix`` weighs each value by a hash of its position, so order matters too."""

    sum: float
    abs: float
    mix: float
    first: float
    last: float


@frozen(kw_only=True)
class Row:
    """One layer, or one chain, as measured. Each of ``ns`` is the time of ``inner`` runs on the device's own clock.

    ``khz``, ``temp_c`` and ``throttled`` are read after the samples; ``None``: not reported. ``throttled`` is the
    Raspberry Pi's bit mask.
    """

    id: str
    inner: int
    ns: tuple[int, ...]
    out_shape: tuple[int, int, int]
    checksums: Checksums
    cpu: int | None = None
    khz: int | None = None
    temp_c: float | None = None
    throttled: int | None = None
    preemptions: int = 0
    page_faults: int = 0

    @property
    def samples_ms(self) -> tuple[float, ...]:
        """Milliseconds of one run, one for each sample, in the order taken."""
        return tuple(total / self.inner / 1e6 for total in self.ns)

    @classmethod
    def parse(cls, line: str) -> Row:
        """Read one line of output.

        Raises `RunnerBusy`, `DeviceError` for another error that the program reports, and for a line that is no row.
        """
        with _reading(line) as data:
            if data.get("error") == "busy":
                raise RunnerBusy(
                    f"the device is busy: another profile measures on it (process {data.get('pid')} there)",
                    hint="wait until it is done, or end it",
                )
            if "error" in data:
                raise DeviceError(f"the layer runner refused {data.get('id', 'to start')}: {str(data['error'])[:500]}")
            ns = tuple(_whole(n, least=1) for n in data["ns"])
            out = tuple(_whole(n, least=1) for n in data["out"])
            if len(out) != 3 or not ns:
                raise ValueError("a row needs samples and an output of three sizes")
            return cls(
                id=str(data["id"]),
                inner=_whole(data["inner"], least=1),
                ns=ns,
                out_shape=out,
                checksums=Checksums(**{name: _finite(data[name]) for name in ("sum", "abs", "mix", "first", "last")}),
                cpu=_readable(data["cpu"]),
                khz=_readable(data["khz"]),
                temp_c=_celsius(data["temp_mc"]),
                throttled=_readable(data["throttled"]),
                preemptions=_whole(data["nivcsw"]),
                page_faults=_whole(data["majflt"]),
            )


@frozen(kw_only=True)
class Hello:
    """The answer to `--hello`: the program and the device that it runs on. ``None`` or empty: not readable there."""

    protocol: int
    kernel: str  # the micro-kernel: "8x8 neon"
    compiler: str
    system: str
    model: str
    cpu_part: str
    cpus: int
    cpu: int
    ram_kb: int
    governor: str
    khz: int | None
    khz_max: int | None
    temp_c: float | None
    throttled: int | None
    load: float | None
    clock_step_ns: int
    word_bits: int

    @classmethod
    def parse(cls, line: str) -> Hello:
        """Read the line that ``--hello`` writes. Raises `DeviceError` if it is something else."""
        texts = ("kernel", "compiler", "system", "model", "cpu_part", "governor")
        counts = ("protocol", "cpus", "cpu", "ram_kb", "clock_step_ns", "word_bits")
        with _reading(line) as data:
            read: dict[str, Any] = {name: _text(data[name]) for name in texts}
            read |= {name: _whole(data[name]) for name in counts}
            read |= {name: _readable(data[name]) for name in ("khz", "khz_max", "throttled")}
            load = None if data["load"] is None else _finite(data["load"])
            return cls(temp_c=_celsius(data["temp_mc"]), load=load, **read)


@contextmanager
def _reading(line: str) -> Iterator[dict[str, Any]]:
    """Give the object of a line. Turn mistakes in the line, or in a field that is read then, into an error."""
    try:
        data = parse_json(line[:MAX_LINE])
    except ValueError as cause:
        raise _garbage(line, "no JSON") from cause
    if not isinstance(data, dict):
        raise _garbage(line, "no JSON object")
    try:
        yield data
    except (KeyError, TypeError, ValueError, OverflowError) as cause:
        raise _garbage(line, f"{type(cause).__name__}: {cause}") from cause


def _garbage(line: str, why: str) -> DeviceError:
    return DeviceError(
        f"the layer runner wrote a line that is no answer ({why}): {line.strip()[:200]!r}",
        hint="something else writes to its output (a login script, a message of the day), or it is of another version",
    )


def _whole(value: Any, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 63:
        raise ValueError(f"{short(value)}, expected a whole number of at least {least}, in 64 bits")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 500:
        raise ValueError(f"{short(value)}, expected a short text")
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise ValueError(f"{short(value)}, expected a finite number")
    return float(value)


def _readable(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _celsius(value: Any) -> float | None:
    return None if value is None else _finite(value) / 1000
