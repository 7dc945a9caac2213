"""What a backend says of its device, and a digest of user code: rows of the cost store are keyed by both."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

import attrs

from hnas.backend import HardwareBackend
from hnas.cost import DeviceInfo
from hnas.discovery.loading import GROUP
from hnas.errors import PluginError
from hnas_app.costs.checked_info import checked
from hnas_app.costs.faults import faults_of

SOURCE = "source code"
"""The setting that holds the digest of user code."""
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_seen: dict[str, list[str]] = {}
"""By file, the digests that this process has met, in order."""
_one_thread = threading.Lock()
"""Devices are profiled in threads, and Python 3.11 cannot parse in several at once (SystemError)."""


def described(backend: HardwareBackend) -> DeviceInfo:
    """Ask a backend for its device; for a class in user code, add a digest of its source to the settings.

    An edited model must not reuse the rows of its earlier version. An installed plugin is identified by its own
    description alone, so that a new release does not void hours of measurements on a board.

    Raises what `HardwareBackend.describe` may raise, and `PluginError` for anything else that it raises or returns.
    """
    cls = type(backend)
    with faults_of(f"the backend {cls.__name__} failed in describe()"):
        info = backend.describe()
    if not isinstance(info, DeviceInfo):
        raise PluginError(f"describe() of the backend {cls.__name__} returned {info!r}, expected a hnas.DeviceInfo")
    info = checked(info, cls.__name__)
    digest = source_digest(cls)
    return attrs.evolve(info, settings={**info.settings, SOURCE: digest}) if digest else info


def source_digest(cls: type) -> str:
    """Return a digest of the source of a class and of its bases in user code; empty if all of it is installed.

    An installed plugin is identified by its version. Comments, layout and imported code do not count. For a class
    without a file, as in a notebook, only the class itself counts.
    """
    own = [base for base in cls.__mro__ if not _is_installed(base)]
    with _one_thread:
        parts = sorted({part for base in own for part in _parts(base)})
    return _digest("\n".join(parts)) if parts else ""


def _is_installed(cls: type) -> bool:
    """Return whether a class came with Python or by pip; a plugin may also be installed in place."""
    package = cls.__module__.partition(".")[0]
    if package in sys.stdlib_module_names - {"__main__"} or package == "hnas":
        return True
    file = _file(cls)
    if file is not None and _INSTALLED & set(file.parts):
        return True
    return any(point.module.partition(".")[0] == package for point in entry_points(group=GROUP))


def _file(cls: type) -> Path | None:
    name = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return Path(name) if name and Path(name).is_file() else None


def _parts(cls: type) -> Iterator[str]:
    file = _file(cls)
    if file is None:
        yield _meaning(_class_source(cls))
        return
    # A file may be edited while its older code stays in memory. Rows measured then must not be keyed by the older or
    # the newer text alone, so they are keyed by both.
    seen = _seen.setdefault(str(file), [])
    now = _meaning(file.read_text(encoding="utf-8", errors="replace"))
    if not seen or seen[-1] != now:
        seen.append(now)
    yield " ".join(seen)


def _class_source(cls: type) -> str:
    """Return the available source of a class without a file: the class, or its methods."""
    with suppress(OSError, TypeError):
        return inspect.getsource(cls)
    found = []
    for name, value in sorted(vars(cls).items()):
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(function):
            try:
                found.append(f"{name}: {inspect.getsource(function)}")
            except (OSError, TypeError):
                found.append(f"{name}: {_code(function.__code__)}")
        elif isinstance(value, int | float | str | tuple) and not name.startswith("__"):
            found.append(f"{name} = {value!r}")
    return "\n".join(found)


def _code(code: object) -> str:
    """Return a description of a function whose text was not kept, as when it was typed in."""
    if not inspect.iscode(code):
        return repr(code)
    return f"{code.co_code.hex()} {code.co_names} {[_code(c) for c in code.co_consts]}"


def _meaning(text: str) -> str:
    with suppress(SyntaxError, ValueError):  # a method alone is indented; it counts as it is written
        text = ast.unparse(ast.parse(text))
    return _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()[:16]
