"""``hnas plugins new``: begin a plugin of your own, as a project that installs, passes its tests and runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hnas.discovery import BUILT_IN, KINDS
from hnas.errors import PluginError, close_matches
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import say_next


def new_plugin(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What users will write, as in my-board.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The project's folder; hnas-KIND-NAME where it is left out."),
    ] = None,
) -> None:
    """Write a project for a plugin: a small implementation that works, its hooks, tests and a README."""
    from hnas_app.plugin_tools.projects import Project

    if kind not in KINDS:
        raise typer.BadParameter(
            f"{kind!r} is not one of {', '.join(KINDS)}.{close_matches(kind, KINDS)}", param_hint="KIND"
        )
    project = Project(kind=kind, name=name)
    for taken in invocation(ctx).registry.list(kind):
        if taken.plugin.name == project.name:
            whose = "is built in" if taken.distribution == BUILT_IN else f"is there, from {taken.distribution}"
            raise PluginError(f"{kind} {project.name!r} {whose}", hint="choose a name of your own")
    folder = out if out is not None else Path(project.distribution)
    for path in project.write(folder):
        print(path)
    say_next(f"pip install -e {shlex.quote(str(folder))} && hnas plugins check {project.name}")
