"""Read pickles of protocols 2 to 5 that hold plain values and arrays of numbers; nothing else can come out of them.

Python's own unpickler calls whatever a file names. This one is an interpreter of its own: it knows the opcodes that
plain values and arrays are written with, under Python 2 and 3 and numpy 1 and 2, and refuses every other.
"""

from __future__ import annotations

import codecs
import mmap
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen, mutable

from hnas.errors import DataError

_LONG = 1 << 20
"""Bytes of this number and more are not copied: they stay a view of the file."""
_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")
_GLOBALS = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",  # how Python 3 writes bytes in protocol 2
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "frombuffer" for core in ("core", "_core")},
}


def read_pickle(source: Path | bytes, name: str = "") -> Any:
    """Return what a pickle holds: a file, mapped rather than read, or its bytes. ``name`` is what errors call it.

    Values are ``None``, bool, int, float, str, bytes, list, tuple, dict (keys: str, bytes or numbers) and arrays of
    numbers. Strings of Python 2 come as str, by Latin-1. Arrays are views of the file and read-only; bytes of a MiB or
    more come as a memoryview. Raises `DataError` for anything else, and for files that are damaged or cannot be read.
    """
    name = name or (str(source) if isinstance(source, Path) else "pickle")
    try:
        content = _map(source) if isinstance(source, Path) else source
    except (OSError, ValueError) as cause:  # an empty file cannot be mapped
        raise DataError(f"{name}: cannot be read: {cause}", hint="copy or download it again") from cause
    reader = _Reader(memoryview(content))
    try:
        return reader.read()
    except _Refused as cause:
        raise DataError(
            f"{name}: at byte {reader.at}: {cause}; expected plain values and arrays of numbers",
            hint="nothing else is unpickled, since a pickle can run code; save the data as plain arrays",
        ) from cause
    except (ValueError, TypeError, LookupError, AttributeError, struct.error, OverflowError) as cause:
        raise DataError(
            f"{name}: at byte {reader.at} of {len(reader.content)}: not a pickle, or damaged or cut short: {cause}",
            hint="copy or download it again",
        ) from cause


def _map(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class _Refused(Exception):
    """The file asks for something that is not built."""


@frozen
class _Global:
    """One of `_GLOBALS`, by its value there."""

    name: str


@frozen
class _LongText:
    """A text that is not decoded, since only `encode` is meant to read it."""

    utf8: memoryview


@mutable
class _Unbuilt:
    """An array or a data type whose state comes later, and where the memo keeps it."""

    kind: str
    code: str = ""
    memo: list[int] = field(factory=list)


@mutable
class _Reader:
    """The stack machine that a pickle is a program for."""

    content: memoryview
    at: int = 0
    _stack: list[Any] = field(factory=list)
    _marks: list[list[Any]] = field(factory=list)
    _memo: dict[int, Any] = field(factory=dict)
    _encoded: int = 0

    def read(self) -> Any:
        if bytes(self.content[:1]) != b"\x80" or not 2 <= self.content[1] <= 5:
            raise ValueError("it does not begin as one of protocol 2 to 5")
        while (code := self.take(1)[0]) != ord("."):
            step = _STEPS.get(code)
            if step is None:
                raise _Refused(f"opcode {bytes([code])!r}")
            step(self)
        (value,) = self._stack
        return _plain(value)

    def take(self, count: int) -> memoryview:
        """Return the next bytes."""
        if count > len(self.content) - self.at:
            raise ValueError(f"{count} bytes expected, {len(self.content) - self.at} are left")
        self.at += count
        return self.content[self.at - count : self.at]

    def number(self, layout: str) -> Any:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0]

    def line(self) -> str:
        start = self.at
        while self.take(1)[0] != ord("\n"):
            if self.at - start > 100:
                raise _Refused("a global with a very long name")
        return str(self.content[start : self.at - 1], "ascii")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def push_bytes(self, count: int) -> None:
        view = self.take(count)
        self.push(view if count >= _LONG else bytes(view))

    def push_string(self, count: int) -> None:
        """Python 2's str, which may be text or bytes."""
        view = self.take(count)
        self.push(view if count >= _LONG else str(view, "latin-1"))

    def push_text(self, count: int) -> None:
        view = self.take(count)
        self.push(_LongText(view) if count >= _LONG else str(view, "utf-8", "surrogatepass"))

    def push_global(self, module: Any, name: Any) -> None:
        known = _GLOBALS.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            raise _Refused(f"the global {module}.{name}"[:200])
        self.push(_Global(known))

    def push_named(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self.push_global(module, name)

    def push_integer(self) -> None:
        self.push(int.from_bytes(self.take(self.number("B")), "little", signed=True))

    def push_tuple(self, count: int) -> None:
        if count > len(self._stack):
            raise ValueError("a tuple of more values than there are")
        self._stack[len(self._stack) - count :] = [tuple(self._stack[len(self._stack) - count :])]

    def mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def since_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._marks.pop()
        return values

    def remember(self, number: int) -> None:
        value = self._memo[number] = self._stack[-1]
        if isinstance(value, _Unbuilt):
            value.memo.append(number)

    def append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise _Refused(f"appending to {type(target).__name__}")
        target.extend(map(_plain, values))

    def set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise _Refused(f"setting items of {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | bytes | int | float):  # a deep tuple's hash would exhaust the C stack
                raise _Refused(f"a dictionary's key of type {type(key).__name__}")
            target[key] = _plain(value)

    def call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, _Global) or type(arguments) is not tuple:
            raise _Refused(f"calling {type(function).__name__}")
        if function.name == "dtype":
            self.push(_Unbuilt("dtype", _type_code(arguments[0])))
        elif function.name == "reconstruct" and arguments[0] == _Global("ndarray"):
            self.push(_Unbuilt("array"))
        elif function.name == "frombuffer":
            self.push(_from_buffer(*arguments))
        elif function.name == "encode" and str(arguments[1]).replace("-", "") == "latin1":
            self.push(self._encode(arguments[0]))
        else:
            raise _Refused(f"calling {function.name} in an unusual way")

    def build(self) -> None:
        state, target = self._stack.pop(), self._stack.pop()
        if not isinstance(target, _Unbuilt) or type(state) is not tuple:
            raise _Refused(f"setting the state of {type(target).__name__}")
        built = _array(*state) if target.kind == "array" else _data_type(target.code, state)
        for number in target.memo:
            if self._memo[number] is target:
                self._memo[number] = built
        self.push(built)

    def _encode(self, text: Any) -> bytes | bytearray:
        """Turn a text back into the bytes that it stands for, a part at a time: no more of them than the file has."""
        if not isinstance(text, _LongText):
            encoded: bytes | bytearray = text.encode("latin-1")
        else:
            encoded, decoder = bytearray(), codecs.getincrementaldecoder("utf-8")()
            for start in range(0, len(text.utf8), _LONG):
                encoded += decoder.decode(text.utf8[start : start + _LONG]).encode("latin-1")
        self._encoded += len(encoded)
        if self._encoded > len(self.content):
            raise _Refused("more bytes than the file has")
        return encoded


def _plain(value: Any) -> Any:
    if isinstance(value, _Global | _LongText | _Unbuilt):
        raise _Refused(f"a value that is {type(value).__name__.strip('_').lower()}")
    return value


def _type_code(code: Any) -> str:
    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
        raise _Refused(f"an array of type {code!r}"[:80])
    return code


def _data_type(code: str, state: tuple[Any, ...]) -> np.dtype[Any]:
    """Give a type the byte order of its state: (version, order, subtype, names, fields, size, alignment, …)."""
    order, *parts = state[1:5]
    if order not in ("<", ">", "|", "=") or parts != [None, None, None]:
        raise _Refused("an array of records")
    dtype: np.dtype[Any] = np.dtype(order + code)
    return dtype


def _array(version: Any, shape: Any, dtype: Any, fortran: Any, content: Any) -> Any:
    if version != 1 or not isinstance(dtype, np.dtype):
        raise _Refused("an array in an unusual form")
    if isinstance(content, str):
        content = content.encode("latin-1")
    return _from_buffer(content, dtype, shape, "F" if fortran else "C")


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Any:
    """Return an array over ``content``, which must have exactly its size. ``axes`` are numpy 2's, with order "K"."""
    if not isinstance(dtype, np.dtype) or not isinstance(content, bytes | bytearray | memoryview):
        raise _Refused(f"an array whose content is {type(content).__name__}")
    flat = np.frombuffer(content, dtype)
    flat.flags.writeable = False
    if order == "K" and axes is not None:
        return flat.reshape(shape).transpose(axes)
    return flat.reshape(shape, order=order)


_STEPS: dict[int, Callable[[_Reader], None]] = {
    code[0]: step
    for code, step in {
        b"\x80": lambda r: r.take(1),  # protocol
        b"\x95": lambda r: r.take(8),  # frame
        b"N": lambda r: r.push(None),
        b"\x88": lambda r: r.push(True),
        b"\x89": lambda r: r.push(False),
        b"K": lambda r: r.push(r.number("B")),
        b"M": lambda r: r.push(r.number("H")),
        b"J": lambda r: r.push(r.number("i")),
        b"\x8a": lambda r: r.push_integer(),
        b"G": lambda r: r.push(struct.unpack(">d", r.take(8))[0]),
        b"U": lambda r: r.push_string(r.number("B")),
        b"T": lambda r: r.push_string(r.number("I")),
        b"\x8c": lambda r: r.push_text(r.number("B")),
        b"X": lambda r: r.push_text(r.number("I")),
        b"\x8d": lambda r: r.push_text(r.number("Q")),
        b"C": lambda r: r.push_bytes(r.number("B")),
        b"B": lambda r: r.push_bytes(r.number("I")),
        b"\x8e": lambda r: r.push_bytes(r.number("Q")),
        b"\x96": lambda r: r.push_bytes(r.number("Q")),  # bytearray
        b"(": lambda r: r.mark(),
        b")": lambda r: r.push(()),
        b"\x85": lambda r: r.push_tuple(1),
        b"\x86": lambda r: r.push_tuple(2),
        b"\x87": lambda r: r.push_tuple(3),
        b"t": lambda r: r.push(tuple(r.since_mark())),
        b"]": lambda r: r.push([]),
        b"a": lambda r: r.append([r._stack.pop()]),
        b"e": lambda r: r.append(r.since_mark()),
        b"}": lambda r: r.push({}),
        b"s": lambda r: r.set_items([r._stack.pop(-2), r._stack.pop()]),
        b"u": lambda r: r.set_items(r.since_mark()),
        b"q": lambda r: r.remember(r.number("B")),
        b"r": lambda r: r.remember(r.number("I")),
        b"\x94": lambda r: r.remember(len(r._memo)),
        b"h": lambda r: r.push(r._memo[r.number("B")]),
        b"j": lambda r: r.push(r._memo[r.number("I")]),
        b"c": lambda r: r.push_global(r.line(), r.line()),
        b"\x93": lambda r: r.push_named(),
        b"R": lambda r: r.call(),
        b"b": lambda r: r.build(),
    }.items()
}
"""What each opcode does; Python's ``pickletools`` describes them."""
