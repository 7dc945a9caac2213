"""Signals that ask this process to end: each ends it as Ctrl-C does, but not in the middle of what must be whole."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
"""Ctrl-C, the end of a batch job, the end of a terminal, and what Slurm sends by ``--signal=USR1@60``."""
PATIENCE_S = 10.0
"""Seconds after a signal in which further ones are the same wish, as when a job and each process of it are told."""


@define
class _Wish:
    """When this process was last asked to end, and how many sections hold that off."""

    at: float | None = None
    holding: int = 0

    def receive(self, *_: object) -> None:
        """Handle a signal."""
        now = time.monotonic()
        if self.at is None or now - self.at > PATIENCE_S:
            self.at = now
            if not self.holding:
                raise KeyboardInterrupt


_wish = _Wish()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let each of `SIGNALS` raise `KeyboardInterrupt` in this thread, if it is the main one.

    A signal that is ignored stays so: ``nohup`` ignores SIGHUP, and a shell's background job SIGINT.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) == _wish.receive:
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    replaced = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in replaced:
            signal.signal(number, _wish.receive)
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
        _wish.at = None


@contextmanager
def held() -> Iterator[None]:
    """Hold an interruption off until the end of a section: `interruptible` raises it then.

    So does one that was lost before, as in a ``__del__`` method, where Python drops what is raised.
    """
    _wish.holding += 1
    try:
        yield
    finally:
        _wish.holding -= 1
    raise_lost()


def raise_lost() -> None:
    """Raise an interruption that was held off, or lost, unless a section holds it off still."""
    if _wish.at is not None and not _wish.holding and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Keep the handlers while a library is loaded that sets its own, as Ray does for SIGTERM."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


@contextmanager
def unheard() -> Iterator[None]:
    """Start a process that these signals do not end: its driver decides. A signal to this process comes later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore() -> None:
    """Ignore these signals from now on, also in a process that was started `unheard`."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
