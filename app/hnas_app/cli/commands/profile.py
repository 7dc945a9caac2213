"""``hnas profile``: measure every distinct layer of a space on a device, once; take the result elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from hnas.errors import quoted
from hnas_app.cli import options
from hnas_app.cli.invocation import Invocation, invocation
from hnas_app.cli.output import print_json, print_table, say_next
from hnas_app.cli.profile_text import print_profile
from hnas_app.cli.terminal import at_terminal
from hnas_app.usecases.arguments import Given

if TYPE_CHECKING:
    from hnas_app.config.schema import LoadedConfig
    from hnas_app.costs.profile import ProfilePlan

app = typer.Typer(invoke_without_command=True)

BackendsOption = Annotated[
    list[str] | None,
    typer.Option("--backend", "-b", metavar="NAME[:DEVICE]", help=f"{options.BACKEND} May be repeated."),
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="File of measurements, JSON.")]


@app.callback()
@options.takes(
    "space", "backend", "device", "input_", "n_way", "verify", "fresh", "dry_run", "tasks", "data_root", "preset",
    "config", "set", "seed",
)  # fmt: skip
def profile(
    ctx: typer.Context,
    given: Given,
    backend: BackendsOption = None,
    input_: options.InputOption = None,
    n_way: Annotated[int | None, typer.Option("--n-way", min=2, help="Classes of a task.")] = None,
    verify: Annotated[
        int, typer.Option("--verify", min=0, help="Random networks to measure whole, to check the table.")
    ] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure all rows of this space again, in place of the stored ones.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be measured.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Measure every distinct layer of a space on a device, or take it from the cost store.

    Without --input, images are those of the tasks. Presets do not apply unless you name one. With several --backend,
    boards are measured at the same time, backends that compute on this machine in turn.
    """
    if ctx.invoked_subcommand is not None:
        return
    preset = given.preset
    given = attrs.evolve(given, preset=preset or "none", n_way=n_way)
    shape = options.input_shape(input_)
    how: dict[str, Any] = {"verify": verify, "fresh": fresh}
    if len(backend or ()) > 1:
        if dry_run:
            raise typer.BadParameter("plans one device at a time", param_hint="--dry-run")
        return _several(invocation(ctx), given, backend or (), as_json=as_json, input_shape=shape, **how)
    from hnas_app.usecases.profile import plan, subject
    from hnas_app.usecases.profile import profile as measure

    given = attrs.evolve(given, backend=backend[0] if backend else None)
    with at_terminal(invocation(ctx)) as caller:
        what = subject(caller, given, shape)
        loaded = what.loaded
        if dry_run:
            return _show_plan(plan(caller, what, **how), loaded, as_json=as_json)
        table = measure(caller, what, **how)
    record = what.record(table)
    if as_json:
        return print_json(record)
    print_profile(record, loaded.config.space.name, loaded.config.backend.name)
    where = f"--space {quoted(loaded.config.space.name)} --backend {_backend(loaded)}"
    if preset:
        return say_next(f"hnas run {where} --preset {preset}")
    say_next(f"hnas profile {where} --preset quick, since a preset's networks have layers of their own")


@app.command("export")
@options.takes("backend", "device", "config", "set")
def export(ctx: typer.Context, file: FileArgument, given: Given) -> None:
    """Write everything known about a device into a file, to share it or to search without the device."""
    from hnas_app.usecases.profile import export_table

    with at_terminal(invocation(ctx)) as caller:
        found, loaded = export_table(caller, attrs.evolve(given, preset="none"), file)
    n_rows = sum(map(len, found.rows.values()))
    print(f"{file}: {len(found.rows)} layers and networks of {found.info.device}, {n_rows} rows")
    table, space = quoted(f"table:{file}"), quoted(loaded.config.space.name)
    say_next(f"hnas profile --backend {table} --space {space}, also without the device")


@app.command("import")
def import_(ctx: typer.Context, file: FileArgument) -> None:
    """Take measurements from a file into this machine's cost store; rows that are there already stay."""
    from hnas_app.usecases.profile import import_table

    found, new = import_table(file)
    print(f"{new} of {sum(map(len, found.rows.values()))} rows of {found.info.device} are new, the others were known")
    say_next(f"hnas profile --backend {quoted(found.info.backend)}")


def _several(call: Invocation, given: Given, backends: Sequence[str], *, as_json: bool, **how: Any) -> None:
    """Profile several devices, and print a line for each; see `profile_several`."""
    from hnas_app.usecases.profile import profile_several

    with at_terminal(call) as caller:
        what, tables = profile_several(caller, given, backends, **how)
    if as_json:
        return print_json({name: what.record(table) for name, table in tables.items()})
    head = ("BACKEND", "DEVICE", "LAYERS", "METRICS")
    rows = [(n, t.info.device, len(t.rows), ", ".join(m.column for m in t.info.metrics)) for n, t in tables.items()]
    print_table(head, rows)
    space = what.loaded.config.space.name
    say_next(f"hnas profile --space {quoted(space)} --backend {quoted(backends[0])}, for one device's layers")


def _backend(loaded: LoadedConfig) -> str:
    """Return the backend as it is given on the command line, with its device."""
    chosen = loaded.config.backend
    device = getattr(chosen.options, "device", "") if loaded.is_set_by_user("backend.device") else ""
    return quoted(f"{chosen.name}:{device}" if device else chosen.name)


def _show_plan(todo: ProfilePlan, loaded: LoadedConfig, *, as_json: bool) -> None:
    missing = sum(map(len, todo.missing.values()))
    known = sum(map(len, todo.known.values()))
    record = {
        "device": todo.info.device,
        "runtime": todo.info.runtime,
        "fingerprint": todo.info.fingerprint,
        "layers": len(todo.layers),
        "networks": len(todo.networks),
        "rounds": len(todo.missing),
        "known_rows": known,
        "missing_rows": missing,
        "expected_s": todo.expected_s,
    }
    if as_json:
        return print_json(record)
    time = "" if todo.expected_s is None else f", about {todo.expected_s:.0f} s"
    print(f"{todo.info.device}, {todo.info.runtime}")
    print(f"{len(todo.layers)} distinct layers and {len(todo.networks)} networks in {len(todo.missing)} rounds")
    print(f"{known} measurements are known, {missing} are to be made{time}; nothing was measured")
    say_next(f"hnas profile --space {quoted(loaded.config.space.name)} --backend {_backend(loaded)}")
