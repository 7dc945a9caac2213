"""The machine that a pickle is a program for; it builds plain values and arrays of numbers, and calls nothing."""

from __future__ import annotations

import codecs
import struct
from typing import Any

from attrs import field, frozen, mutable

from hnas_plugins.tasks.pickles.arrays import Refused, array, data_type, from_buffer, type_code

_LONG = 1 << 20
"""Bytes of this number and more are not copied: they stay a view of the file."""
_GLOBALS = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",  # how Python 3 writes bytes in protocol 2
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "frombuffer" for core in ("core", "_core")},
}


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
class Machine:
    """The stack machine that a pickle is a program for: its content, a stack with marks, and a memo."""

    content: memoryview
    at: int = 0
    _stack: list[Any] = field(factory=list)
    _marks: list[list[Any]] = field(factory=list)
    _memo: dict[int, Any] = field(factory=dict)
    _encoded: int = 0

    def take(self, count: int) -> memoryview:
        """Return the next bytes."""
        if count > len(self.content) - self.at:
            raise ValueError(f"{count} bytes expected, {len(self.content) - self.at} are left")
        self.at += count
        return self.content[self.at - count : self.at]

    def result(self) -> Any:
        """Return the one value that is left when the program ends."""
        (value,) = self._stack
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

    def pop(self, index: int = -1) -> Any:
        return self._stack.pop(index)

    def push_global(self, module: Any, name: Any) -> None:
        known = _GLOBALS.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            raise Refused(f"the global {module}.{name}"[:200])
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

    def remember_next(self) -> None:
        self.remember(len(self._memo))

    def recall(self, number: int) -> None:
        self.push(self._memo[number])

    def remember(self, number: int) -> None:
        value = self._memo[number] = self._stack[-1]
        if isinstance(value, _Unbuilt):
            value.memo.append(number)

    def append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise Refused(f"appending to {type(target).__name__}")
        target.extend(map(_plain, values))

    def set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise Refused(f"setting items of {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | bytes | int | float):  # a deep tuple's hash would exhaust the C stack
                raise Refused(f"a dictionary's key of type {type(key).__name__}")
            target[key] = _plain(value)

    def call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, _Global) or type(arguments) is not tuple:
            raise Refused(f"calling {type(function).__name__}")
        if function.name == "dtype":
            self.push(_Unbuilt("dtype", type_code(arguments[0])))
        elif function.name == "reconstruct" and arguments[0] == _Global("ndarray"):
            self.push(_Unbuilt("array"))
        elif function.name == "frombuffer":
            self.push(from_buffer(*arguments))
        elif function.name == "encode" and str(arguments[1]).replace("-", "") == "latin1":
            self.push(self._encode(arguments[0]))
        else:
            raise Refused(f"calling {function.name} in an unusual way")

    def build(self) -> None:
        state, target = self._stack.pop(), self._stack.pop()
        if not isinstance(target, _Unbuilt) or type(state) is not tuple:
            raise Refused(f"setting the state of {type(target).__name__}")
        built = array(*state) if target.kind == "array" else data_type(target.code, state)
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
            raise Refused("more bytes than the file has")
        return encoded


def _plain(value: Any) -> Any:
    if isinstance(value, _Global | _LongText | _Unbuilt):
        raise Refused(f"a value that is {type(value).__name__.strip('_').lower()}")
    return value
