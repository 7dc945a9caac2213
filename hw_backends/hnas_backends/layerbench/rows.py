"""The lines that the C program writes: rows, errors, and what it says of the device."""

from __future__ import annotations

import json
import math
from typing import Any

from attrs import field, frozen

from hnas import DeviceError

MAX_LINE = 1 << 20
"""Characters of the longest line worth reading: a row of 1,000 samples has some 20,000."""


@frozen(kw_only=True)
class Checksums:
    """What a result was, in five numbers: ``mix`` weighs each value by a hash of its position, so order matters too."""

    sum: float
    abs: float
    mix: float
    first: float
    last: float


@frozen(kw_only=True)
class Row:
    """One layer, or one chain, as measured. Each of ``ns`` is the time of ``inner`` runs on the device's own clock.

    ``khz``, ``temp_c`` and ``throttled`` are read after the samples, and ``None`` where the device does not tell;
    ``throttled`` is the Raspberry Pi's bit mask.
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

        Raises `DeviceError` for an error that the program reports, and for a line that is no row.
        """
        data = _object(line)
        if "error" in data:
            raise DeviceError(f"the layer runner refused {data.get('id', 'to start')}: {str(data['error'])[:500]}")
        try:
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
        except (KeyError, TypeError, ValueError) as cause:
            raise _garbage(line, f"{type(cause).__name__}: {cause}") from cause


@frozen(kw_only=True)
class Hello:
    """What `--hello` tells of the program and of the device that it runs on. ``None`` or empty: not readable there."""

    protocol: int
    built_for: str
    kernel: str  # the micro-kernel: "8x8 neon"
    compiler: str
    machine: str
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
    raw: dict[str, Any] = field(factory=dict, eq=False, repr=False)

    @classmethod
    def parse(cls, line: str) -> Hello:
        """Read the line that ``--hello`` writes. Raises `DeviceError` where it is something else."""
        data = _object(line)
        try:
            return cls(
                protocol=_whole(data["protocol"]),
                built_for=str(data["built_for"]),
                kernel=str(data["kernel"]),
                compiler=str(data["compiler"]),
                machine=str(data["machine"]),
                system=str(data["system"]),
                model=str(data["model"]),
                cpu_part=str(data["cpu_part"]),
                governor=str(data["governor"]),
                cpus=_whole(data["cpus"]),
                cpu=_whole(data["cpu"]),
                ram_kb=_whole(data["ram_kb"]),
                clock_step_ns=_whole(data["clock_step_ns"]),
                word_bits=_whole(data["word_bits"]),
                khz=_readable(data["khz"]),
                khz_max=_readable(data["khz_max"]),
                throttled=_readable(data["throttled"]),
                temp_c=_celsius(data["temp_mc"]),
                load=None if data["load"] is None else _finite(data["load"]),
                raw=data,
            )
        except (KeyError, TypeError, ValueError) as cause:
            raise _garbage(line, f"{type(cause).__name__}: {cause}") from cause


def _object(line: str) -> dict[str, Any]:
    try:
        data = json.loads(line[:MAX_LINE])
    except (ValueError, RecursionError) as cause:
        raise _garbage(line, "no JSON") from cause
    if not isinstance(data, dict):
        raise _garbage(line, "no JSON object")
    return data


def _garbage(line: str, why: str) -> DeviceError:
    return DeviceError(
        f"the layer runner wrote a line that is no answer ({why}): {line.strip()[:200]!r}",
        hint="something else writes to its output (a login script, a message of the day), or it is of another version",
    )


def _whole(value: Any, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{value!r} where a whole number of at least {least} was expected")
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} where a finite number was expected")
    return float(value)


def _readable(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _celsius(value: Any) -> float | None:
    return None if value is None else _finite(value) / 1000
