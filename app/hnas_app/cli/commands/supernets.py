"""`hnas supernets`: super-nets that are trained already. List them, show one, fetch its files."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hnas.errors import quoted, shown
from hnas_app.cli.invocation import invocation
from hnas_app.cli.meter import Meter
from hnas_app.cli.options import JsonOption
from hnas_app.cli.output import print_json, print_table, say_next

app = typer.Typer(help="List, show and fetch super-nets that are trained already.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A super-net; `hnas supernets list` shows them.")]
ELSEWHERE = "choose another folder: HNAS_HOME sets that of hnas's cache"


@app.command("list")
def list_command(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the super-nets: what each serves, its licence, and whether it is here or still to be fetched."""
    from hnas_app.supernets.listing import row

    registry = invocation(context).registry
    rows = [row(found, registry) for found in registry.list("supernet")]
    if as_json:
        return print_json(rows)
    if not rows:
        print("no super-net is installed")
        return say_next("hnas plugins new supernet NAME --from RUN packs one of your own")
    head = ("NAME", "SPACE", "DATA", "IMAGES", "CLASSES", "LICENCE", "FROM", "HERE")
    print_table(
        head,
        [
            (r["use"], r["space"] or "?", r["tasks"] or "?", _images(r), _classes(r), r["licence"], _whose(r), _here(r))
            for r in rows
        ],
    )
    for r in rows:
        if r["error"]:
            print(f"{r['use']} cannot be used: {shown(r['error'])}")
    to_fetch = [r["use"] for r in rows if r["to_fetch"]]
    say_next(f"hnas supernets show {quoted(rows[0]['use'])}" if not to_fetch else f"hnas supernets fetch {to_fetch[0]}")


@app.command()
def show(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """Show a super-net: its licence, its model card, the settings it was trained with, and where its files are."""
    from hnas_app.supernets.listing import row, text

    registry = invocation(context).registry
    found = registry.get("supernet", name)
    told = row(found, registry)
    card, config = text(found, "card"), text(found, "config")
    if as_json:
        return print_json({**told, "card": card, "configuration": config})
    print(f"super-net {told['use']}: {shown(told['summary'])}")
    print(f"from {_whose(told)}; licence: {shown(told['licence'])}")
    print(f"images {_images(told)}; tasks of {_classes(told)} classes; {_here(told)}")
    for part, file in told["files"].items():
        print(f"{part}: {file['path']}" + ("" if file["present"] else f" (not there; from {file['url']})"))
    if told["error"]:
        print(f"it cannot be used: {shown(told['error'])}")
    for title, content in (("model card", card), ("configuration", config)):
        print(f"\n--- {title}\n" + (shown(content, keep="\n").rstrip() if content else "still to be fetched"))
    print(flush=True)
    verb = "supernets fetch" if told["to_fetch"] else "adapt"
    say_next(f"hnas {verb} {quoted(told['use'])}")


@app.command()
def fetch(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """Download the files of a super-net that are not in its distribution; an earlier download is continued."""
    from hnas_app.cli.output import note
    from hnas_app.supernets.files import remote_files
    from hnas_app.supernets.listing import row
    from hnas_app.usecases.data import bring

    registry = invocation(context).registry
    found = registry.get("supernet", name)
    say = note if as_json else print
    if files := remote_files(found):
        bring(files, say=say, progress=Meter, elsewhere=ELSEWHERE)
    else:
        say(f"nothing to fetch: the files of {name} were installed with {found.distribution} {found.version}")
    if as_json:
        return print_json(row(found, registry))
    say_next(f"hnas adapt {quoted(registry.selector(found))}")


def _images(row: dict[str, Any]) -> str:
    return "x".join(map(str, row["image_shape"]))


def _classes(row: dict[str, Any]) -> str:
    return "-".join(dict.fromkeys(map(str, row["n_way"])))


def _whose(row: dict[str, Any]) -> str:
    return f"{row['distribution']} {row['version']}".strip()


def _here(row: dict[str, Any]) -> str:
    if row["error"]:
        return "damaged"
    return f"to fetch, {row['to_fetch'] / 1e6:.1f} MB" if row["to_fetch"] else "here"
