"""Read pickles of protocols 2 to 5 that hold plain values and arrays of numbers; nothing else can come out of them.

Python's own unpickler calls whatever a file names. This one is a separate interpreter. It knows the opcodes of plain
values and arrays, as Python 2 and 3 and numpy 1 and 2 write them, and refuses every other.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hnas.errors import DataError
from hnas_plugins.tasks.pickles.machine import Machine, Refused


def read_pickle(source: Path | bytes, name: str = "") -> Any:
    """Return the value in a pickle: a file, which is mapped rather than read, or its bytes. Errors use ``name``.

    Values are ``None``, bool, int, float, str, bytes, list, tuple, dict (keys: str, bytes or numbers) and arrays of
    numbers. Strings of Python 2 come as str, by Latin-1. Arrays are views of the file and read-only; bytes of a MiB or
    more come as a memoryview. Raises `DataError` for anything else, and for files that are damaged or unreadable.
    """
    name = name or (str(source) if isinstance(source, Path) else "pickle")
    try:
        machine = Machine(memoryview(_map(source) if isinstance(source, Path) else source))
    except (OSError, ValueError) as cause:  # an empty file cannot be mapped
        raise DataError(f"{name}: cannot be read: {cause}", hint="copy or download it again") from cause
    try:
        return _run(machine)
    except Refused as cause:
        raise DataError(
            f"{name}: at byte {machine.at}: {cause}; expected plain values and arrays of numbers",
            hint="nothing else is unpickled, since a pickle can run code; save the data as plain arrays",
        ) from cause
    except (ValueError, TypeError, LookupError, AttributeError, struct.error, OverflowError) as cause:
        raise DataError(
            f"{name}: at byte {machine.at} of {len(machine.content)}: not a pickle, or damaged or cut short: {cause}",
            hint="copy or download it again",
        ) from cause


def _map(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _run(machine: Machine) -> Any:
    if bytes(machine.content[:1]) != b"\x80" or not 2 <= machine.content[1] <= 5:
        raise ValueError("it does not begin as one of protocol 2 to 5")
    while (code := machine.take(1)[0]) != ord("."):
        step = _STEPS.get(code)
        if step is None:
            raise Refused(f"opcode {bytes([code])!r}")
        step(machine)
    return machine.result()


_STEPS: dict[int, Callable[[Machine], None]] = {
    code[0]: step
    for code, step in {
        b"\x80": lambda m: m.take(1),  # protocol
        b"\x95": lambda m: m.take(8),  # frame
        b"N": lambda m: m.push(None),
        b"\x88": lambda m: m.push(True),
        b"\x89": lambda m: m.push(False),
        b"K": lambda m: m.push(m.number("B")),
        b"M": lambda m: m.push(m.number("H")),
        b"J": lambda m: m.push(m.number("i")),
        b"\x8a": lambda m: m.push(int.from_bytes(m.take(m.number("B")), "little", signed=True)),
        b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
        b"U": lambda m: m.push_bytes("B", "latin-1"),
        b"T": lambda m: m.push_bytes("I", "latin-1"),
        b"\x8c": lambda m: m.push_text("B"),
        b"X": lambda m: m.push_text("I"),
        b"\x8d": lambda m: m.push_text("Q"),
        b"C": lambda m: m.push_bytes("B"),
        b"B": lambda m: m.push_bytes("I"),
        b"\x8e": lambda m: m.push_bytes("Q"),
        b"\x96": lambda m: m.push_bytes("Q"),  # bytearray
        b"(": lambda m: m.mark(),
        b")": lambda m: m.push(()),
        b"\x85": lambda m: m.push_tuple(1),
        b"\x86": lambda m: m.push_tuple(2),
        b"\x87": lambda m: m.push_tuple(3),
        b"t": lambda m: m.push(tuple(m.since_mark())),
        b"]": lambda m: m.push([]),
        b"a": lambda m: m.append([m.stack.pop()]),
        b"e": lambda m: m.append(m.since_mark()),
        b"}": lambda m: m.push({}),
        b"s": lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
        b"u": lambda m: m.set_items(m.since_mark()),
        b"q": lambda m: m.remember(m.number("B")),
        b"r": lambda m: m.remember(m.number("I")),
        b"\x94": lambda m: m.remember(len(m.memo)),
        b"h": lambda m: m.push(m.memo[m.number("B")]),
        b"j": lambda m: m.push(m.memo[m.number("I")]),
        b"c": lambda m: m.push_global(m.line(), m.line()),
        b"\x93": lambda m: m.push_global(m.stack.pop(-2), m.stack.pop()),
        b"R": lambda m: m.call(),
        b"b": lambda m: m.build(),
    }.items()
}
"""The action of each opcode; Python's ``pickletools`` describes them."""
