"""The conformance tests of a plugin, run in a process of their own: a plugin may hang, or end the process."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from hnas.discovery.descriptors import Kind, Registered
from hnas.discovery.loading import BUILT_IN, options_of
from hnas.discovery.user_code import USER_CODE
from hnas.errors import PluginError
from hnas.toolkit.files import parse_json
from hnas_app.plugin_tools.finding import Finding

SMALL: dict[Kind, dict[str, str]] = {
    "space": {"base_width": "4"},
    "strategy": {"population": "10", "iterations": "5"},
}
"""Options that make a plugin small if it has them, as those of a preset."""
TIMEOUT_S = 300.0
"""Seconds after which a test that has not ended counts as one that never does."""


@frozen(kw_only=True)
class Conformance:
    """How the tests are run. ``measure``: on real devices, too. ``progress`` is called with each test's name."""

    sets: tuple[tuple[str, str], ...] = ()
    timeout_s: float = TIMEOUT_S
    measure: bool = False
    third_party: bool = True
    progress: Callable[[str], None] = lambda text: None

    def run(self, registered: Registered) -> list[Finding]:
        """Return the failed tests as findings, and how many there were. Never raises for a fault of the plugin."""
        kind = registered.kind
        known = {f.name for f in getattr(options_of(registered), "__attrs_attrs__", ())}
        small = [(f"{kind}.{name}", value) for name, value in SMALL.get(kind, {}).items() if name in known]
        own = registered.distribution not in (BUILT_IN, USER_CODE)
        sets = [*small, *self.sets]  # the last one counts
        with tempfile.TemporaryDirectory(prefix="hnas-check-") as folder:
            told = {
                "kind": kind,
                "name": registered.plugin.name + f"@{registered.distribution}" * own,
                "sets": sets,
                "measure": self.measure,
                "third_party": self.third_party,
                "folder": folder,
            }
            return self._findings(registered, told, Path(folder))

    def _findings(self, registered: Registered, told: dict[str, Any], folder: Path) -> list[Finding]:
        seen = _Seen()
        ended = ""
        with _Child(told, folder) as child:
            try:
                for event in child.events(self.timeout_s):
                    seen.take(event)
                    if "running" in event:
                        self.progress(f"{registered.kind} {registered.plugin.name}: {seen.count}, {seen.running}")
            except TimeoutError:
                ended = f"did not end within {self.timeout_s:g} s (--timeout sets the limit)"
            else:
                ended = "" if seen.done else child.last_words()
        given = ", ".join(f"{key}={value}" for key, value in dict(told["sets"]).items())
        return list(seen.findings(ended, given))


@define
class _Seen:
    """What the process has reported so far."""

    tests: list[str] = field(factory=list)
    failed: dict[str, str] = field(factory=dict)
    skipped: dict[str, str] = field(factory=dict)
    passed: int = 0
    running: str = ""
    not_tried: str = ""
    made: str = ""
    """How the tests were set up for the plugin."""
    done: bool = False

    @property
    def count(self) -> str:
        return f"test {self.passed + len(self.failed) + len(self.skipped) + 1} of {len(self.tests)}"

    def take(self, event: dict[str, Any]) -> None:
        match event:
            case {"test": name, "failed": told}:
                self.failed[name] = told
            case {"test": name, "skipped": why}:
                self.skipped[name] = why
            case {"test": _}:
                self.passed += 1
            case {"running": name}:
                self.running = name
            case {"tests": names}:
                self.tests = names
            case {"not_tried": why}:
                self.not_tried = why
            case {"made": how}:
                self.made = how
            case {"done": _}:
                self.done = True

    def findings(self, ended: str, given: str) -> Iterator[Finding]:
        """Yield a finding for each test that failed, for a process that ended otherwise, and for all together."""
        if self.not_tried:
            yield Finding("warning", "conformance", f"not tried: {self.not_tried}")
            return
        for name, told in self.failed.items():
            yield Finding("failed", "conformance", f"{name}: {told}")
        if ended:
            yield Finding("failed", "conformance", f"{self.running or 'the preparation of the tests'}: {ended}")
        wrong = len(self.failed) + bool(ended)
        left = len(self.tests) - self.passed - len(self.failed) - len(self.skipped) - bool(ended and self.running)
        parts = [f"{self.passed} of {len(self.tests)} tests pass"]
        parts += [f"{len(self.failed)} fail"] * bool(self.failed) + [f"{left} were not reached"] * (left > 0)
        parts += [f"with {', '.join(filter(None, (given, self.made)))}"] * bool(given or self.made)
        for why in dict.fromkeys(self.skipped.values()):
            parts.append(f"{', '.join(n for n, w in self.skipped.items() if w == why)} not applied: {why}")
        yield Finding("hint" if wrong else "ok", "conformance", "; ".join(parts))


class _Child:
    """The process of the tests. It reports on a pipe of its own: what the plugin prints goes into a file."""

    def __init__(self, told: dict[str, Any], folder: Path) -> None:
        self._reports, there = os.pipe()
        self._output = folder / "output"
        command = [sys.executable, "-P", "-m", "hnas_app.plugin_tools.conformance_process"]
        variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, json.dumps({**told, "reports": there})],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(there,),
                start_new_session=True,  # so that what it starts can be ended with it
                env={**variables, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            )
        os.close(there)

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._reports)

    def events(self, timeout_s: float) -> Iterator[dict[str, Any]]:
        """Yield its reports to the end. Raises `TimeoutError` if none comes for so long."""
        rest = b""
        while True:
            if not select.select([self._reports], [], [], timeout_s)[0]:
                raise TimeoutError
            if not (found := os.read(self._reports, 1 << 16)):
                return
            *lines, rest = (rest + found).split(b"\n")
            for line in lines:
                event = parse_json(line)
                yield event
                if "done" in event:
                    return

    def last_words(self) -> str:
        """Describe how the process ended before its time."""
        status = self._process.wait()
        how = f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
        lines = self._output.read_text(errors="replace").strip().splitlines()
        return f"the process ended {how}" + (f"; its last line: {lines[-1][:500]}" if lines else "")


def check_pytest() -> None:
    """Raise `PluginError` without pytest, with which the tests are written."""
    if importlib.util.find_spec("pytest") is None:
        raise PluginError(
            "the conformance tests need pytest, which is not installed",
            hint="pip install 'pytest>=8', or leave these tests out: hnas plugins check --quick",
        )
