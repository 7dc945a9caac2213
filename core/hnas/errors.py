"""Every error that hnas raises on purpose, each with the exit code it gives the command line."""

from __future__ import annotations

import difflib
import re
import reprlib
import shlex
from collections.abc import Iterable


class HnasError(Exception):
    """The root of all errors meant for a user.

    A message says what failed, the value seen and what was expected; ``hint`` says what to do next. The command line
    prints both without a traceback and exits with ``exit_code``.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(HnasError):
    """A wrong key or value in a configuration file, in ``--set`` or in the environment."""

    exit_code = 3


class DataError(HnasError):
    """A data set, a checkpoint or another file of the user is missing, incomplete or damaged."""

    exit_code = 3


class PluginError(HnasError):
    """An unknown plugin name, or a plugin that cannot be loaded or constructed, or that breaks its interface."""

    exit_code = 4


class InfeasibleError(HnasError):
    """No architecture of the space satisfies the constraints."""

    exit_code = 5


class DeviceError(HnasError):
    """A device that cannot be reached, or that cannot measure what it was asked to."""

    exit_code = 6


class UnsteadyError(DeviceError):
    """The last measurements cannot be trusted: the device throttled, or its clock changed.

    Raised by `HardwareBackend.measure`. The block of layers is measured again after a while. The user sees the error
    only if that fails several times.
    """


class DivergenceError(HnasError):
    """Meta-training produced a loss that is not a number."""

    exit_code = 7


def close_matches(word: str, known: Iterable[str]) -> str:
    """Return which of ``known`` the user may have meant: ``" Did you mean 'vgg9'?"``, or empty if none is close."""
    names = list(known)
    matches = difflib.get_close_matches(word, names, cutoff=0.85) or difflib.get_close_matches(word, names)
    return " Did you mean " + " or ".join(repr(m) for m in matches) + "?" if matches else ""


def first_few(names: Iterable[str], *, most: int = 4, separator: str = ", ") -> str:
    """Return up to ``most`` names and how many more there are: a message about thousands of files stays readable."""
    told = list(names)
    shown = separator.join(told[:most])
    between = " " if separator == ", " else separator
    return f"{shown}{between}and {len(told) - most} more" if len(told) > most else shown


_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, what turns the direction of text, and bytes of file names that are no text."""


def shown(text: str, keep: str = "") -> str:
    """Return text of others as it can be printed: what would steer a terminal becomes an escape, as in ``\\x1b``."""
    return _HIDDEN.sub(lambda c: c[0] if c[0] in keep else c[0].encode("unicode_escape").decode(), text)


def quoted(path: object) -> str:
    """Return a path as it stands in a command for a shell."""
    return shlex.quote(str(path))


def short(value: object) -> str:
    """Write a value as Python does, up to 80 characters of it."""
    text = _BOUNDED.repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


_BOUNDED = reprlib.Repr()
"""Writes few items and levels: a list may hold another twice, that a third twice, and so on, in a file of 400 bytes."""
_BOUNDED.maxlevel, _BOUNDED.maxstring, _BOUNDED.maxlong, _BOUNDED.maxother = 3, 200, 200, 200
_BOUNDED.maxlist = _BOUNDED.maxtuple = _BOUNDED.maxset = _BOUNDED.maxdict = 40
