"""``hnas profile``: measure every distinct layer of a space on a device, once; take the result elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hnas_app.cli import options
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import print_json, say_next
from hnas_app.cli.profile_text import print_profile

if TYPE_CHECKING:
    from hnas.backend import HardwareBackend
    from hnas_app.config.schema import LoadedConfig
    from hnas_app.costs.profile import ProfilePlan
    from hnas_app.costs.store import CostStore

app = typer.Typer(invoke_without_command=True)

BackendsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        metavar="NAME[:DEVICE]",
        help="Hardware backend, as in arm:pi4; or ./file.py:Class, module:Class. May be repeated.",
    ),
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="File of measurements, JSON.")]


@app.callback()
def profile(
    ctx: typer.Context,
    space: options.SpaceOption = None,
    backend: BackendsOption = None,
    device: options.DeviceOption = None,
    input_: options.InputOption = None,
    n_way: Annotated[int | None, typer.Option("--n-way", min=2, help="Classes of a task.")] = None,
    verify: Annotated[
        int, typer.Option("--verify", min=0, help="Random networks to measure whole, to prove the table.")
    ] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure all rows of this space again, in place of the stored ones.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be measured.")] = False,
    tasks: options.TasksOption = None,
    data_root: options.DataRootOption = None,
    preset: options.PresetOption = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    seed: options.SeedOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Measure every distinct layer of a space on a device, or take it from the cost store.

    Without --input, images are those of the tasks. Presets do not apply unless you name one. With several --backend
    boards are measured at the same time, what computes on this machine in turn.
    """
    if ctx.invoked_subcommand is not None:
        return
    given: dict[str, Any] = {"preset": preset or "none", "config": config, "sets": set_, "data_root": data_root}
    given |= {"space": space, "device": device, "tasks": tasks, "task.n_way": n_way, "seed": seed}
    if len(backend or ()) > 1:
        from hnas_app.cli.profile_devices import profile_all

        if dry_run:
            raise typer.BadParameter("plans one device at a time", param_hint="--dry-run")
        return profile_all(invocation(ctx), backend or (), input_, verify=verify, fresh=fresh, as_json=as_json, **given)
    from hnas.seeds import Seeds
    from hnas_app.costs.profile import plan
    from hnas_app.costs.profile import profile as measure
    from hnas_app.costs.profile_json import profile_json
    from hnas_app.trackers.terminal import display

    call = invocation(ctx)
    loaded = options.load(call, backend=backend[0] if backend else None, **given)
    searched, shape = options.space_and_images(call, loaded, input_)
    n_way = loaded.config.task.n_way
    how: dict[str, Any] = {"verify": verify, "fresh": fresh, "seeds": Seeds(loaded.config.seed)}
    shown = display()
    try:
        with opened(options.create(call, loaded, "backend")) as (board, store):
            if dry_run:
                return _show_plan(plan(board, searched, shape, n_way, store=store, **how), loaded, as_json=as_json)
            table = measure(board, searched, shape, n_way, store=store, emit=shown, **how)
    finally:
        shown.close()
    record = profile_json(table, searched, shape, n_way)
    if as_json:
        return print_json(record)
    print_profile(record, loaded.config.space.name, loaded.config.backend.name)
    where = f"--space {loaded.config.space.name} --backend {_backend(loaded)}"
    if preset:
        return say_next(f"hnas run {where} --preset {preset}")
    say_next(f"hnas profile {where} --preset quick, since a preset's networks have layers of their own")


@app.command("export")
def export(
    ctx: typer.Context,
    file: FileArgument,
    backend: options.BackendOption = None,
    device: options.DeviceOption = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
) -> None:
    """Write all that is known of a device into a file, to share it or to search where the device is not."""
    from hnas.toolkit.table_file import write
    from hnas_app.costs.description import described
    from hnas_app.costs.store import from_store

    call = invocation(ctx)
    loaded = options.load(call, preset="none", config=config, sets=set_, backend=backend, device=device)
    with opened(options.create(call, loaded, "backend")) as (board, store):
        found = from_store(store, described(board))
    write(file, found)
    print(f"{file}: {len(found.rows)} layers and networks of {found.info.device}, {found.n_rows} rows")
    say_next(f"hnas profile --backend table:{file} --space {loaded.config.space.name}, where the device is not")


@app.command("import")
def import_(ctx: typer.Context, file: FileArgument) -> None:
    """Take measurements from a file into this machine's cost store; what is there already stays."""
    from hnas.toolkit.table_file import read
    from hnas_app.costs.store import CostStore, into_store

    found = read(file)
    with CostStore() as store:
        new = into_store(store, found)
    print(f"{new} of {found.n_rows} rows of {found.info.device} are new, the others were known")
    say_next(f"hnas profile --backend {found.info.backend}")


@contextmanager
def opened(board: HardwareBackend) -> Iterator[tuple[HardwareBackend, CostStore]]:
    """Yield the device and the store, and give both back."""
    from hnas_app.costs.store import CostStore

    try:
        with CostStore() as store:
            yield board, store
    finally:
        board.close()


def _backend(loaded: LoadedConfig) -> str:
    """Return what was said of the backend on the command line, device included."""
    chosen = loaded.config.backend
    device = getattr(chosen.options, "device", "") if loaded.is_set_by_user("backend.device") else ""
    return f"{chosen.name}:{device}" if device else chosen.name


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
    say_next(f"hnas profile --space {loaded.config.space.name} --backend {_backend(loaded)}")
