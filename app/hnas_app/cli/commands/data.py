"""`hnas data`: the data sets that tasks are drawn from. List them, fetch them, check them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from hnas.discovery import Registered, Registry
from hnas.errors import ConfigError, DataError, HnasError
from hnas.task_source import SPLITS, TaskSource
from hnas.toolkit.remote_file import RemoteFile
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import say_next
from hnas_app.usecases.download import download

app = typer.Typer(help="List, fetch and check the data sets that tasks are drawn from.", no_args_is_help=True)

Root = Annotated[Path | None, typer.Option("--data-root", help="Folder of the data set.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A task source; `hnas data list` shows them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_command(context: typer.Context, as_json: Json = False) -> None:
    """List the task sources: what each needs, where that is looked for, whether it is there, and how to get it."""
    registry = invocation(context).registry
    rows = [_row(registry, found) for found in registry.list("tasks")]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
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


def _row(registry: Registry, found: Registered) -> dict[str, Any]:
    """Describe a task source, also one that cannot be made here."""
    row: dict[str, Any] = {
        "name": found.plugin.name,
        "summary": found.plugin.summary,
        "distribution": found.distribution,
        "origin": None,
        "files": [],
        "error": None,
    }
    try:
        source: TaskSource = registry.create("tasks", f"{found.plugin.name}@{found.distribution}")
        origin, files = source.origin(), source.remote_files()
    except HnasError as cause:
        return row | {"error": str(cause)}
    if origin is not None:
        row["origin"] = {
            "path": origin.path and str(origin.path),
            "present": origin.path is not None and origin.path.exists(),
            "licence": origin.licence,
            "how": origin.how,
        }
    row["files"] = [
        {"url": f.url, "path": str(f.path), "licence": f.licence, "present": f.path.is_file()} for f in files
    ]
    return row


@app.command()
def fetch(context: typer.Context, name: Name, data_root: Root = None) -> None:
    """Download a data set, continuing where an earlier download stopped. Complete data are left alone."""
    source = _source(invocation(context).registry, name, data_root)
    files, origin = source.remote_files(), source.origin()
    if not files:
        print(f"{name} is not downloaded: {origin.how}." if origin else f"{name} has nothing to download.")
    elif not _complete(source, files):
        for file in files:
            if file.path.is_file() and file.mismatch(file.path) is None:
                print(f"{file.path} is there already.")
                continue
            print(f"{file.url} (licence: {file.licence}) -> {file.path}")
            download(file, _Meter())
    else:
        print(f"{name} is complete in {files[0].path.parent}: {source.check()}.")
    by_hand = not files and origin is not None and origin.path is not None
    root = f" --data-root {data_root}" if data_root else " --data-root DIR" if by_hand else ""
    say_next(f"hnas data check {name}{root}")


@app.command()
def check(context: typer.Context, name: Name, data_root: Root = None, as_json: Json = False) -> None:
    """Read a data set and say what is there, or what is missing."""
    from hnas_app.config.schema import TaskConfig

    source = _source(invocation(context).registry, name, data_root)
    there = source.check()
    classes = {split: source.n_classes(split) for split in SPLITS}
    if as_json:
        print(json.dumps({"name": name, "content": there, "classes": classes, "image_shape": source.image_shape}))
        return
    print(f"{name}: {there}.")
    print("classes: " + ", ".join(f"{count} {split}" for split, count in classes.items()))
    ways = min(classes.values())
    fewer = f" --set task.n_way={ways}" if ways < TaskConfig().n_way else ""
    say_next(f"hnas run --tasks {name}{f' --data-root {data_root}' if data_root else ''}{fewer}")


def _source(registry: Registry, name: str, data_root: Path | None) -> TaskSource:
    options = registry.options_class("tasks", name)
    settings = {}
    if data_root is not None:
        if not attrs.has(options) or "root" not in attrs.fields_dict(options):
            raise ConfigError(f"{name} reads no files: it takes no --data-root", hint="leave --data-root out")
        settings["root"] = str(data_root)
    source: TaskSource = registry.create("tasks", name, options(**settings))
    return source


def _complete(source: TaskSource, files: Sequence[RemoteFile]) -> bool:
    """Tell whether the data are there, whichever way they came: judged by content, not by the files' checksums."""
    if not any(f.path.parent.is_dir() for f in files):
        return False
    try:
        source.check()
    except DataError:
        return False
    return True


class _Meter:
    """Says how far a download is, in one line on a terminal and every quarter elsewhere."""

    def __init__(self) -> None:
        self._said = -1

    def __call__(self, done: int, total: int | None) -> None:
        terminal = sys.stderr.isatty()
        share = done * 100 // total if total else done >> 20
        if share == self._said or (not terminal and share < self._said + 25 and done != total):
            return
        self._said = share
        text = f"  {done / 1e6:.1f} MB" + (f" of {total / 1e6:.1f} MB" if total else "")
        print(f"\r{text}" if terminal else text, end="\n" if not terminal or done == total else "", file=sys.stderr)
