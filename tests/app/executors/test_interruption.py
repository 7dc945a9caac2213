"""Signals end a process as Ctrl-C does, but not in the middle of a section, and not if they were ignored before."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from hnas.events import Event
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.terminal import at_terminal
from hnas_app.executors.interruption import SIGNALS, held, interruptible
from hnas_app.executors.ray_cluster import imported


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_interrupts(number: int) -> None:
    with interruptible(), pytest.raises(KeyboardInterrupt):
        send(number)


def test_a_signal_that_is_sent_again_does_not_disturb_the_end() -> None:
    """A batch system tells the job and each of its processes, then tells them again."""
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
        for number in SIGNALS:
            send(number)


def test_a_section_ends_before_the_interruption() -> None:
    done = []

    def section() -> None:
        with held():
            with held():
                send(signal.SIGTERM)
                done.append("inner")
            done.append("outer")

    with interruptible(), pytest.raises(KeyboardInterrupt):
        section()
    assert done == ["inner", "outer"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_that_python_drops_comes_later() -> None:
    class Lost:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    with interruptible():
        made: Lost | None = Lost()
        made = None
        assert made is None
        with pytest.raises(KeyboardInterrupt), held():
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_that_python_drops_ends_a_command_at_its_next_step() -> None:
    """A search and an evaluation hold nothing off; they would go on to their end, and the exit code be 0."""

    class Lost:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    done = []

    def command() -> None:
        with at_terminal(Invocation()) as caller:
            for step in range(4):
                lost: Lost | None = Lost() if step == 1 else None
                lost = None
                assert lost is None
                caller.emit(Event(phase="evaluate", kind="step", done=step, total=4))
                done.append(step)

    with interruptible(), pytest.raises(KeyboardInterrupt):
        command()
    assert done == [0]


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_library_that_takes_sigterm_does_not_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing Ray sets a handler that calls ``sys.exit``."""
    (tmp_path / "ray.py").write_text("import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    with interruptible():
        imported()
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
    del sys.modules["ray"]
