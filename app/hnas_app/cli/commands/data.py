"""`hnas data`: the data sets that tasks are drawn from. List them, fetch them, check them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs
import typer

from hnas.errors import quoted
from hnas_app.cli.invocation import invocation
from hnas_app.cli.meter import Meter
from hnas_app.cli.options import JsonOption, load, takes
from hnas_app.cli.output import print_json, say_next
from hnas_app.usecases.arguments import Given

app = typer.Typer(help="List, fetch and check the data sets that tasks are drawn from.", no_args_is_help=True)

Root = Annotated[Path | None, typer.Option("--data-root", help="Folder of the data set.")]
_REPEATED = ("data_root", "preset", "config")
"""Options of `hnas data check` that the next command needs, too."""
Name = Annotated[str, typer.Argument(metavar="NAME", help="A task source; `hnas data list` shows them.")]


@app.command("list")
def list_command(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the task sources: what each needs, where that is looked for, whether it is there, and how to get it."""
    from hnas_app.usecases.data import sources

    rows = sources(invocation(context).registry)
    if as_json:
        return print_json(rows)
    for row in rows:
        print(f"{row['name']}: {row['summary']}")
        if row["error"]:
            print(f"  cannot be used here: {row['error']}")
        if origin := row["origin"]:
            place = f"{origin['path']} ({'there' if origin['present'] else 'not there'}); " if origin["path"] else ""
            print(f"  {place}licence: {origin['licence']}")
            print(f"  to get it: {origin['how']}")
        for file in row["files"]:
            print(f"  {file['path']} ({'there' if file['present'] else 'not there'}) from {file['url']}")
    say_next("hnas data fetch NAME, or hnas data check NAME")


@app.command()
def fetch(context: typer.Context, name: Name, data_root: Root = None) -> None:
    """Download a data set, continuing where an earlier download stopped. Complete data are left alone."""
    from hnas_app.usecases.data import fetch as bring

    by_hand = bring(invocation(context).registry, name, data_root, say=print, progress=Meter)
    root = f" --data-root {quoted(data_root)}" if data_root else " --data-root DIR" if by_hand else ""
    say_next(f"hnas data check {name}{root}")


@app.command()
@takes("data_root", "preset", "config", "set")
def check(context: typer.Context, given: Given, name: Name, as_json: JsonOption = False) -> None:
    """Read a data set as a run with these settings will, and print what is there, or what is missing."""
    from hnas_app.usecases.data import check as read

    call = invocation(context)
    config = load(call, attrs.evolve(given, tasks=name)).config
    found = read(call.registry, config)
    classes = found["classes"]
    if as_json:
        return print_json(found)
    print(f"{name}: {found['content']}.")
    print("classes: " + ", ".join(f"{count} {split}" for split, count in classes.items()))
    ways = min(classes.values())
    same = [f"--{key.replace('_', '-')} {quoted(value)}" for key in _REPEATED if (value := getattr(given, key))]
    sets = [f"--set {quoted(f'{key}={value}')}" for key, value in given.sets]
    fewer = [f"--set task.n_way={ways}"] if ways < config.task.n_way else []
    say_next(" ".join([f"hnas run --tasks {name}", *same, *sets, *fewer]))
