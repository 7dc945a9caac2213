"""A command as the caller of a use case: progress and notes on the terminal, Ctrl-C told with how to go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import typer

from hnas_app.cli.invocation import Invocation
from hnas_app.cli.output import note
from hnas_app.usecases.arguments import Caller, WrongArgument

FLAGS = {"backends": "--backend", "constraints": "--constraint", "device": "--device", "picture": "--out"}
"""Arguments of use cases that may be wrong, as they are called here."""


@contextmanager
def at_terminal(call: Invocation, resume: str | None = None) -> Iterator[Caller]:
    """Yield the caller of a use case; what it prints stands on standard error, and the terminal is given back.

    ``resume`` is the command that goes on after an interruption, ``{}`` in it the folder.
    """
    from hnas_app.trackers.terminal import display

    def began(folder: Path) -> None:
        call.resume = resume and resume.format(folder)

    with _terminated_like_interrupted() if resume else nullcontext(), closing(display()) as shown:
        try:
            yield Caller(registry=call.registry, emit=shown, note=note, began=began)
        except WrongArgument as wrong:
            raise typer.BadParameter(wrong.problem, param_hint=FLAGS[wrong.argument]) from wrong


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let a batch system's SIGTERM end a run as Ctrl-C does: resumable, and told so."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
