"""The state of one call of the command line: its global flags, the plugins, and how to resume it."""

from __future__ import annotations

from functools import cached_property

import typer
from attrs import define

from hnas.discovery import Registry


@define(slots=False)
class Invocation:
    """The ``obj`` of typer's context, made by `hnas_app.cli.run`."""

    debug: bool = False
    no_plugins: bool = False
    resume: str | None = None
    """The command that goes on after Ctrl-C; a command sets it once there is something to go on from."""

    @cached_property
    def registry(self) -> Registry:
        return Registry(third_party=not self.no_plugins)


def invocation(ctx: typer.Context) -> Invocation:
    """Return the invocation that `hnas_app.cli.run` put into the context."""
    found = ctx.obj
    assert isinstance(found, Invocation)
    return found
