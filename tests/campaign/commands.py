"""One command of hnas as a process: watched, and killed if it breaks a bound.

It is forked from a process that has imported everything, so it begins in milliseconds. Else it is a process like any
other: it may be killed, it has its own session, and it leaves nothing behind in the campaign.
"""

from __future__ import annotations

import atexit
import importlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, frozen

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
MARK = "CAMPAIGN_COMMAND"
"""The variable by which processes are known that a command has started."""
MEMORY_MB = 3000
"""Bound of one command; the modules that it shares with the campaign are 400 of these."""


@frozen
class Outcome:
    """How a command ended. ``ended_by`` is the bound that it broke, if it had to be killed."""

    code: int
    """Its exit code; negative: the signal that killed it."""
    out: str
    err: str
    seconds: float
    peak_mb: float
    ended_by: str = ""


@define
class Child:
    """A command at work, in a session of its own."""

    pid: int
    folder: Path
    began: float
    outcome: Outcome | None = None

    def poll(self) -> Outcome | None:
        """Return how it ended, or ``None`` if it is at work."""
        if self.outcome is None:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.outcome = self._ended(status, used.ru_maxrss / 1024)
        return self.outcome

    def send(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float = 120.0, memory_mb: float = MEMORY_MB) -> Outcome:
        """Wait for its end; kill it, and all that it started, if it breaks a bound."""
        end, broken = time.monotonic() + seconds, ""
        while (found := self.poll()) is None and not broken:
            if time.monotonic() > end:
                broken = f"no end after {seconds:.0f} s"
            elif (used := _resident_mb(self.pid)) > memory_mb:
                broken = f"{used:.0f} MB of memory"
            time.sleep(0.01)
        if found is None:
            self.kill()
            _, status, usage = os.wait4(self.pid, 0)
            found = self.outcome = self._ended(status, usage.ru_maxrss / 1024, broken)
        return found

    def kill(self) -> None:
        """Kill it and its session, but leave it to be waited for."""
        for pid in {self.pid, *session(self.pid)}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def left_over(self, seconds: float = 10.0) -> list[str]:
        """Return what still runs of its session ``seconds`` after its end, and kill that."""
        end = time.monotonic() + seconds
        while (left := session(self.pid)) and time.monotonic() < end:
            time.sleep(0.05)
        names = [_command_line(pid) for pid in left]
        if left:
            self.kill()
        return names

    def _ended(self, status: int, peak_mb: float, broken: str = "") -> Outcome:
        code = os.waitstatus_to_exitcode(status)
        out, err = (text_of(self.folder / f"{self.pid}.{kind}") for kind in ("out", "err"))
        return Outcome(code, out, err, time.monotonic() - self.began, peak_mb, broken)


def start(words: Sequence[str | bytes], cwd: Path, env: Mapping[str, str], before: Callable[[], None]) -> Child:
    """Start ``hnas WORDS`` in a folder; ``before`` is called in the new process first."""
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the new process has its own handlers
    pid = os.fork()
    if pid == 0:
        try:
            _become(cwd, env)
            _finish(words, before)
        finally:  # never goes on as a second campaign
            os._exit(99)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return Child(pid, cwd, began)


def session(leader: int) -> list[int]:
    """Return the living processes of a command's session, and those that it started in sessions of their own."""
    found, mark = [], f"{MARK}={leader}\0"
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = text_of(entry / "stat").rpartition(")")[2].split()
            lives = len(fields) > 3 and fields[0] not in "ZX"
            if lives and (fields[3] == str(leader) or mark in text_of(entry / "environ")):
                found.append(int(entry.name))
    return found


def _become(cwd: Path, env: Mapping[str, str]) -> None:
    """In a forked process: be as one that a shell starts."""
    os.setsid()
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(cwd)
    for number, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{os.getpid()}.{kind}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name in [n for n in os.environ if n.startswith("HNAS_")]:
        del os.environ[name]
    os.environ.update(env, **{MARK: str(os.getpid())})


def _finish(words: Sequence[str | bytes], before: Callable[[], None]) -> None:
    """Run the command line as the script does, and end the process as Python does."""
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        before()
        importlib.import_module("hnas_app.cli").main([os.fsdecode(w) for w in words])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:  # before hnas could catch it
        code = 130
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for ending in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
            try:
                ending()
            except BaseException:
                code = code or 120
        os._exit(code)


def _resident_mb(pid: int) -> float:
    words = text_of(Path(f"/proc/{pid}/statm")).split()
    return int(words[1]) * resource.getpagesize() / 2**20 if len(words) > 1 else 0.0


def _command_line(pid: int) -> str:
    return text_of(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()[:200]


def text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(20_000_000).decode(errors="backslashreplace")
    except OSError:
        return ""
