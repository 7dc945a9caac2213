"""``hnas profile``: measure every distinct layer of a space on a device, once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hnas.cli import options
from hnas.cli.invocation import invocation
from hnas.cli.output import print_json, print_table, say_next


def profile(
    ctx: typer.Context,
    space: options.SpaceOption = None,
    backend: options.BackendOption = None,
    input_: options.InputOption = None,
    n_way: Annotated[int | None, typer.Option("--n-way", min=2, help="Classes of a task.")] = None,
    tasks: options.TasksOption = None,
    data_root: options.DataRootOption = None,
    preset: options.PresetOption = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Measure every distinct layer of a space on a device, or take it from the cost store.

    Without --input, images are those of the tasks. Presets do not apply unless you name one.
    """
    from hnas.console import display
    from hnas.cost_store import CostStore
    from hnas.phases.profile import profile as measure
    from hnas.phases.profile import profile_json

    call = invocation(ctx)
    shape = options.input_shape(input_) if input_ else None
    flags: dict[str, Any] = {"space": space, "backend": backend, "tasks": tasks, "task.n_way": n_way}
    loaded = options.load(call, preset=preset or "none", config=config, sets=set_, data_root=data_root, **flags)
    searched = options.create(call, loaded, "space")
    if shape is None:
        shape = options.create(call, loaded, "tasks").image_shape
    device = options.create(call, loaded, "backend")
    shown = display()
    store = None
    try:
        store = CostStore()
        table = measure(device, searched, shape, loaded.config.task.n_way, store=store, emit=shown)
    finally:
        if store is not None:
            store.close()
        shown.close()
        device.close()
    record = profile_json(table, searched.distinct_layers(shape, loaded.config.task.n_way))
    if as_json:
        return print_json(record)
    fixed = ("layer", "key")
    metrics = [k for k in record["layers"][0] if k not in fixed] if record["layers"] else []
    print_table(
        ("LAYER", *(m.upper() for m in metrics)), [(r["key"], *(r[m] for m in metrics)) for r in record["layers"]]
    )
    print(f"{len(record['layers'])} distinct layers of {loaded.config.space.name} on {loaded.config.backend.name}")
    say_next(f"hnas run --space {loaded.config.space.name} --backend {loaded.config.backend.name} --preset quick")
