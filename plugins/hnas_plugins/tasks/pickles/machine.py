"""A stack machine that runs pickles; it builds plain values and arrays of numbers, and calls nothing."""

from __future__ import annotations

import codecs
import re
import struct
from typing import Any

import numpy as np
from attrs import field, frozen, mutable

from hnas.errors import short

_LONG = 1 << 20
"""Bytes of this number and more are not copied: they stay a view of the file."""
_GLOBALS = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",  # how Python 3 writes bytes in protocol 2
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "frombuffer" for core in ("core", "_core")},
}
_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")


class Refused(Exception):
    """A pickle asks for an object that is not built."""


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
    """An array or a data type whose state comes later, and its place in the memo."""

    kind: str
    code: str = ""
    memo: list[int] = field(factory=list)


@mutable
class Machine:
    """The stack machine that runs a pickle: its content, a stack with marks, and a memo."""

    content: memoryview
    at: int = 0
    stack: list[Any] = field(factory=list)
    _marks: list[list[Any]] = field(factory=list)
    memo: dict[int, Any] = field(factory=dict)
    _encoded: int = 0

    def take(self, count: int) -> memoryview:
        """Return the next bytes."""
        if count > len(self.content) - self.at:
            raise ValueError(f"{count} bytes expected, {len(self.content) - self.at} are left")
        self.at += count
        return self.content[self.at - count : self.at]

    def result(self) -> Any:
        """Return the only value left at the end of the program."""
        (value,) = self.stack
        return _plain(value)

    def number(self, layout: str) -> Any:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0]

    def line(self) -> str:
        start = self.at
        while self.take(1)[0] != ord("\n"):
            if self.at - start > 100:
                raise Refused("a global with a very long name")
        return str(self.content[start : self.at - 1], "ascii")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_bytes(self, layout: str, encoding: str = "") -> None:
        """Push bytes after their count, or Python 2's str, which may be text or bytes."""
        view = self.take(self.number(layout))
        if len(view) < _LONG:
            self.push(str(view, encoding) if encoding else bytes(view))
        else:
            self.push(view)

    def push_text(self, layout: str) -> None:
        view = self.take(self.number(layout))
        self.push(_LongText(view) if len(view) >= _LONG else str(view, "utf-8", "surrogatepass"))

    def push_global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("a global without a name")
        known = _GLOBALS.get((module, name))
        if known is None:
            raise Refused(f"the global {module[:80]}.{name[:80]}")
        self.push(_Global(known))

    def push_tuple(self, count: int) -> None:
        if count > len(self.stack):
            raise ValueError("a tuple of more values than the stack has")
        self.stack[len(self.stack) - count :] = [tuple(self.stack[len(self.stack) - count :])]

    def mark(self) -> None:
        self._marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self._marks.pop()
        return values

    def remember(self, number: int) -> None:
        value = self.memo[number] = self.stack[-1]
        if isinstance(value, _Unbuilt):
            value.memo.append(number)

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise Refused(f"appending to {type(target).__name__}")
        target.extend(map(_plain, values))

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise Refused(f"setting items of {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | bytes | int | float):  # a deep tuple's hash would exhaust the C stack
                raise Refused(f"a dictionary's key of type {type(key).__name__}")
            target[key] = _plain(value)

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Global) or type(arguments) is not tuple:
            raise Refused(f"calling {type(function).__name__}")
        if function.name == "dtype":
            self.push(_Unbuilt("dtype", _type_code(arguments[0])))
        elif function.name == "reconstruct" and arguments[0] == _Global("ndarray"):
            self.push(_Unbuilt("array"))
        elif function.name == "frombuffer":
            self.push(_from_buffer(*arguments))
        elif function.name == "encode" and arguments[1] in ("latin1", "latin-1"):
            self.push(self._encode(arguments[0]))
        else:
            raise Refused(f"calling {function.name} in an unusual way")

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack.pop()
        if not isinstance(target, _Unbuilt) or type(state) is not tuple:
            raise Refused(f"setting the state of {type(target).__name__}")
        built = _array(*state) if target.kind == "array" else _data_type(target.code, state)
        for number in target.memo:
            if self.memo[number] is target:
                self.memo[number] = built
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
            raise Refused("more bytes than the file has")
        return encoded


def _plain(value: Any) -> Any:
    if isinstance(value, _Global | _LongText | _Unbuilt):
        raise Refused(f"a value that is {type(value).__name__.strip('_').lower()}")
    return value


def _type_code(code: Any) -> str:
    """Return numpy's code of a type of numbers as it is."""
    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
        raise Refused(f"an array of type {short(code)}")
    return code


def _data_type(code: str, state: tuple[Any, ...]) -> np.dtype[Any]:
    """Give a type the byte order of its state: (version, order, subtype, names, fields, size, alignment, …)."""
    order, *parts = state[1:5]
    if order not in ("<", ">", "|", "=") or parts != [None, None, None]:
        raise Refused("an array of records")
    dtype: np.dtype[Any] = np.dtype(order + code)
    return dtype


def _array(version: Any, shape: Any, dtype: Any, fortran: Any, content: Any) -> Any:
    """Return the array that a state of numpy's ``ndarray`` describes."""
    if version != 1 or not isinstance(dtype, np.dtype):
        raise Refused("an array in an unusual form")
    if isinstance(content, str):
        content = content.encode("latin-1")
    return _from_buffer(content, dtype, shape, "F" if fortran else "C")


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Any:
    """Return an array over ``content``, which must have exactly its size. ``axes`` are numpy 2's, with order "K"."""
    if not isinstance(dtype, np.dtype) or not isinstance(content, bytes | bytearray | memoryview):
        raise Refused(f"an array whose content is {type(content).__name__}")
    flat = np.frombuffer(content, dtype)
    flat.flags.writeable = False
    if order == "K" and axes is not None:
        return flat.reshape(shape).transpose(axes)
    return flat.reshape(shape, order=order)
