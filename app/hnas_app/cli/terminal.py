"""A command as the caller of a use case: progress and notes on the terminal, and how to go on after Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import typer

from hnas.errors import quoted
from hnas.events import Event
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.output import note
from hnas_app.executors.interruption import raise_lost
from hnas_app.usecases.arguments import Caller, WrongArgument

FLAGS = {
    "backends": "--backend",
    "constraints": "--constraint",
    "device": "--device",
    "picture": "--out",
    "folder": "--out",
    "model": "--export",
    "name": "--name",
    "pick": "--pick",
    "file": "FILE",
}
"""The flags of those arguments of use cases that may be wrong."""

IN_ORDER = ("profile", "meta-train", "adapt", "retrain", "evaluate")
"""The phases of a whole run, as they come: the device first, so that a limit out of reach costs no training."""


@contextmanager
def at_terminal(
    call: Invocation, resume: str | None = None, phases: Sequence[str] = (), log: Sequence[str] | None = None
) -> Iterator[Caller]:
    """Yield the caller of a use case, which prints on standard error; the terminal is given back afterwards.

    ``resume`` is the command that goes on after an interruption; ``{}`` in it stands for the folder. ``phases`` are
    those of the command in their order, if they are to be numbered. ``log`` names trackers.
    """
    from hnas_app.trackers.terminal import display

    def began(folder: Path) -> None:
        call.resume = resume and resume.format(quoted(folder))

    with closing(display(phases=phases)) as shown:

        def emit(event: Event) -> None:
            shown(event)
            if event.kind == "step":  # still at work: what was raised has been lost
                raise_lost()

        try:
            yield Caller(registry=call.registry, emit=emit, note=note, began=began, trackers=tuple(log or ()))
        except WrongArgument as wrong:
            raise typer.BadParameter(wrong.problem, param_hint=FLAGS[wrong.argument]) from wrong
