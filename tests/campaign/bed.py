"""What every attack runs on: commands of hnas as processes of their own, homes, and one tiny run that nobody attacked.

A command is forked from a process that has imported everything, so it begins in milliseconds. It is a process like any
other: it may be killed, it has its own session, and it leaves nothing behind in the campaign.
"""

from __future__ import annotations

import atexit
import importlib
import os
import pkgutil
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from attrs import define, frozen

from hnas.toolkit.home import home

PACKAGES = ("hnas", "hnas_app", "hnas_plugins", "hnas_backends", "hnas_strategies")
TINY = {
    "space.base_width": 4, "task.n_way": 2, "strategy.population": 8, "strategy.iterations": 4,
    "learner.inner_steps": 2, "learner.first_order_epochs": 1, "meta_train.epochs": 2, "meta_train.iterations": 20,
    "meta_train.tasks": 2, "meta_train.shrink_start": 1, "meta_train.validate_every": 1,
    "meta_train.validate_tasks": 4, "search.tasks": 3, "search.pool": 10, "search.final_tasks": 5,
    "retrain.epochs": 2, "retrain.iterations": 20, "retrain.tasks": 2, "evaluate.tasks": 60,
}  # fmt: skip
"""A whole run in some seconds."""
BOARD = '''"""A board that takes a while for each layer, so that a kill falls between two rows."""
import time
from attrs import asdict, frozen
from hnas import DeviceInfo, HardwareBackend, Measurement, Metric


class Board(HardwareBackend):
    """Takes ``ns`` for a multiply-accumulate, and ``wait_ms`` for an answer."""

    @frozen(kw_only=True)
    class Options:
        ns: float = 1.0
        wait_ms: float = 1.0

    def __init__(self, options):
        self.options = options

    def describe(self):
        metrics = (Metric(name="latency", unit="us"),)
        return DeviceInfo(backend="slow", device="board", runtime="1", metrics=metrics, settings=asdict(self.options))

    def measure(self, layers):
        for layer in layers:
            time.sleep(self.options.wait_ms / 1000)
            yield {"latency": Measurement(median=1e-3 * self.options.ns * (1 + layer.macs), unit="us")}
'''
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
        out, err = (_text(self.folder / f"{self.pid}.{kind}") for kind in ("out", "err"))
        return Outcome(code, out, err, time.monotonic() - self.began, peak_mb, broken)


@define(slots=False, eq=False)
class Bed:
    """Starts commands, below one folder; see the module."""

    root: Path

    def __attrs_post_init__(self) -> None:
        own = home()
        os.environ["HNAS_HOME"] = str(self.root / "nowhere")  # no attack may reach the user's own
        for name in ("engine", "layerbench", "glyphs"):  # copied: to compile them takes a minute
            if (own / name).is_dir():
                shutil.copytree(own / name, self.root / "warm-home" / name)
        _import_everything()
        (self.root / "board.py").write_text(BOARD)

    @property
    def board(self) -> str:
        """The reference of the slow board."""
        return f"{self.root / 'board.py'}:Board"

    def start(
        self,
        words: Sequence[str | bytes],
        *,
        home: Path,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> Child:
        """Start ``hnas WORDS`` in a folder; ``before`` is called in the process first."""
        sys.stdout.flush()
        sys.stderr.flush()
        began = time.monotonic()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the new process has its own handlers
        pid = os.fork()
        if pid == 0:
            _become(cwd, {**(env or {}), "HNAS_HOME": str(home)})
            _finish(words, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return Child(pid, cwd, began)

    def call(self, words: Sequence[str | bytes], *, seconds: float = 120.0, **how: object) -> Outcome:
        """Run ``hnas WORDS`` to its end; see `start`."""
        return self.start(words, **how).wait(seconds)  # type: ignore[arg-type]

    def run_words(self, folder: Path, *, workers: int = 1, seed: int = 0, **settings: object) -> list[str]:
        """Return the words of a tiny run in ``folder``."""
        sets = {**TINY, **{k.replace("__", "."): v for k, v in settings.items()}}
        words = ["run", "--preset", "none", "--workers", str(workers), "--seed", str(seed)]
        words += ["--backend", self.board, "--run-dir", str(folder)]
        return [*words, *(w for key, value in sets.items() for w in ("--set", f"{key}={value}"))]

    # ---------------------------------------------------------------- what is made once

    @cached_property
    def warm_home(self) -> Path:
        """A home with compiled programs and rendered glyphs, but without costs."""
        home = self.root / "warm-home"
        words = [*self.run_words(self.root / "first-run"), "--set", "meta_train.iterations=2"]
        done = self.call(words, home=home, cwd=self.root, seconds=300)
        assert done.code == 0, done.err
        (home / "costs.sqlite3").unlink()
        return home

    @cached_property
    def finished(self) -> Path:
        """A folder with a finished run and its home."""
        folder = self.root / "finished"
        shutil.copytree(self.warm_home, folder / "home")
        done = self.call(self.run_words(folder / "run"), home=folder / "home", cwd=folder)
        assert done.code == 0, done.err
        return folder

    def half_done(self, phase: str, folder: Path) -> Path:
        """Make a folder with a home and a run that was killed in a phase."""
        kept = self.root / f"half-{phase}"
        while not kept.exists():
            made = self.root / "half-made"
            shutil.rmtree(made, ignore_errors=True)
            shutil.copytree(self.warm_home, made / "home")
            child = self.start(self.run_words(made / "run"), home=made / "home", cwd=made, before=save_often)
            while child.poll() is None and f'"phase": "{phase}", "kind": "step"' not in _text(
                made / "run" / "metrics.jsonl"
            ):
                time.sleep(0.005)
            child.kill()
            if child.wait().code < 0:
                made.rename(kept)
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        return folder


def save_often() -> None:
    """Have a command save and report after every iteration."""
    report_often()
    importlib.import_module("hnas_app.training.outer_loop").CHECKPOINT_SECONDS = 0.0  # type: ignore[attr-defined]


def report_often() -> None:
    """Have a command report after every iteration."""
    importlib.import_module("hnas_app.training.outer_loop").REPORT_SECONDS = 0.0  # type: ignore[attr-defined]


def session(leader: int) -> list[int]:
    """Return the living processes of a command's session, and those that it started in sessions of their own."""
    found, mark = [], f"{MARK}={leader}\0"
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _text(entry / "stat").rpartition(")")[2].split()
            lives = len(fields) > 3 and fields[0] not in "ZX"
            if lives and (fields[3] == str(leader) or mark in _text(entry / "environ")):
                found.append(int(entry.name))
    return found


def _import_everything() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMP_NUM_THREADS"] = "1"  # a pool of threads does not survive a fork
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                try:
                    importlib.import_module(module.name)
                except ImportError:
                    continue  # of an optional package
    assert threading.active_count() == 1


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
    words = _text(Path(f"/proc/{pid}/statm")).split()
    return int(words[1]) * resource.getpagesize() / 2**20 if len(words) > 1 else 0.0


def _command_line(pid: int) -> str:
    return _text(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()[:200]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(20_000_000).decode(errors="backslashreplace")
    except OSError:
        return ""
