"""``hnas profile`` with several backends: each device's table, those on different machines at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from hnas_app.cli import options
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.output import print_json, print_table, say_next


def profile_all(
    call: Invocation,
    backends: Sequence[str],
    input_: str | None,
    *,
    verify: int,
    fresh: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Profile the devices and print what was found; ``flags`` are those of `options.load`, but for the backend."""
    from hnas.seeds import Seeds
    from hnas_app.costs.profile_devices import profile_devices
    from hnas_app.costs.profile_json import profile_json
    from hnas_app.costs.store import CostStore
    from hnas_app.trackers.terminal import display

    if len(set(backends)) < len(backends):
        raise typer.BadParameter(f"the same one twice: {', '.join(backends)}", param_hint="--backend")
    if flags.pop("device", None):
        raise typer.BadParameter("of several backends each names its own, as in arm:pi4", param_hint="--device")
    loaded = {name: options.load(call, backend=name, **flags) for name in backends}
    first = loaded[backends[0]]
    space, shape = options.space_and_images(call, first, input_)
    n_way = first.config.task.n_way
    shown = display()
    try:
        tables = profile_devices(
            {name: options.create(call, each, "backend") for name, each in loaded.items()},
            space,
            shape,
            n_way,
            open_store=CostStore,
            emit=shown,
            verify=verify,
            fresh=fresh,
            seeds=Seeds(first.config.seed),
        )
    finally:
        shown.close()
    if as_json:
        return print_json({name: profile_json(t, space, shape, n_way) for name, t in tables.items()})
    head = ("BACKEND", "DEVICE", "LAYERS", "METRICS")
    rows = [(n, t.info.device, len(t.rows), ", ".join(m.column for m in t.info.metrics)) for n, t in tables.items()]
    print_table(head, rows)
    say_next(f"hnas profile --space {first.config.space.name} --backend {backends[0]}, for one device's layers")
